// Products by cuBLASLt, accumulated in float32. The library is asked once per shape for its choice
// of algorithm; only such that add in a fixed order are allowed, so the bits are the same every
// time.
#include "layers/kernels/matmul.hpp"

#include "core/cuda/checked_call.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "layers/kernels/cuda/cublaslt_library.hpp"
#include "layers/kernels/extents.hpp"

#include <bit>
#include <compare>
#include <map>
#include <mutex>

namespace sluice::kernels {

namespace {

void check_cublas(cublasStatus_t status, const char* call, const MatmulExtents& e)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return;
    if (status == CUBLAS_STATUS_ALLOC_FAILED)
        throw out_of_gpu_memory(call);
    std::ostringstream message;
    message << "the GPU failed: " << CublasLt::loaded().status_string(status) << " in " << call
            << " for m " << e.m << ", n " << e.n << ", k " << e.k;
    throw PeerError(message.str());
}

/// Everything that the choice of an algorithm depends on.
struct PlanKey {
    int device;
    std::int64_t m, n, k;
    bool transpose_a, transpose_b, with_addend, factors_in_memory;
    DType operands, out;
    bool tf32;
    unsigned align_a, align_b, align_c, align_d;
    std::size_t workspace_bytes;
    auto operator<=>(const PlanKey&) const = default;
};

struct Plan {
    cublasLtMatmulDescOpaque_t product;
    cublasLtMatrixLayoutOpaque_t a, b, out;
    cublasLtMatmulAlgo_t algorithm;
};

cudaDataType_t type_of(DType dtype)
{
    SLUICE_CHECK(dtype == DType::f32 || dtype == DType::bf16, "matmul of " << name_of(dtype));
    return dtype == DType::f32 ? CUDA_R_32F : CUDA_R_16BF;
}

unsigned alignment_of(const TensorView& tensor)
{
    // As much as the library's fast kernels ask for. Of more, the place in memory would choose the
    // algorithm, and with it the bits: another number of stages would give another result.
    constexpr std::uintptr_t enough = 16;
    return 1U << std::countr_zero(std::bit_cast<std::uintptr_t>(tensor.data) | enough);
}

/// Numbers in a GPU's memory: where alpha is read from there, the library reads beta from there
/// too.
class NumbersOnGpu {
public:
    /// The first time the host waits until it is there, so not while work is captured.
    const float* at(float number, const GpuStream& stream)
    {
        const auto [place, is_new] = places_.try_emplace(number, places_.size());
        if (is_new) {
            SLUICE_CHECK(places_.size() <= most, "more than " << most << " different betas");
            if (places_.size() == 1)
                memory_ = DeviceMemory(most * sizeof(float));
            stream.copy(address(place->second), &number, sizeof number);
            stream.synchronize();
        }
        return address(place->second);
    }

private:
    static constexpr std::size_t most = 64;
    float* address(std::size_t place) const { return static_cast<float*>(memory_.data()) + place; }

    DeviceMemory memory_;
    std::map<float, std::size_t> places_;
};

/// Never destroyed: when a process ends, the library may have taken itself down before, and
/// cublasLtDestroy would free twice.
class Plans {
public:
    static Plans& all()
    {
        static Plans& plans = *new Plans;
        return plans;
    }

    cublasLtHandle_t handle(int device, const MatmulExtents& e)
    {
        const std::scoped_lock lock(mutex_);
        cublasLtHandle_t& handle = handles_[device];
        if (handle == nullptr)
            check_cublas(CublasLt::loaded().create(&handle), "cublasLtCreate", e);
        return handle;
    }

    Plan plan(cublasLtHandle_t handle, const PlanKey& key)
    {
        const std::scoped_lock lock(mutex_);
        const auto known = plans_.find(key);
        return known != plans_.end() ? known->second
                                     : plans_.emplace(key, make(handle, key)).first->second;
    }

    /// Valid as long as the process.
    const float* number(float number, const Stream& stream)
    {
        const std::scoped_lock lock(mutex_);
        return numbers_[stream.device.index].at(number, GpuStream::of(stream));
    }

private:
    static Plan make(cublasLtHandle_t handle, const PlanKey& key);

    std::mutex mutex_;
    std::map<int, cublasLtHandle_t> handles_;
    std::map<PlanKey, Plan> plans_;
    std::map<int, NumbersOnGpu> numbers_;
};

template <class Value>
void set(Plan& plan, cublasLtMatmulDescAttributes_t attribute, Value value, const MatmulExtents& e)
{
    check_cublas(CublasLt::loaded().matmul_desc_set(&plan.product, attribute, &value, sizeof value),
                 "cublasLtMatmulDescSetAttribute", e);
}

template <class Value>
void set(cublasLtMatmulPreferenceOpaque_t& preference,
         cublasLtMatmulPreferenceAttributes_t attribute, Value value, const MatmulExtents& e)
{
    check_cublas(CublasLt::loaded().preference_set(&preference, attribute, &value, sizeof value),
                 "cublasLtMatmulPreferenceSetAttribute", e);
}

/// cuBLAS counts in columns: a row-major [rows, columns] is its columns x rows. So it computes
/// out^T = op(b)^T op(a)^T with b as its first operand, and neither is moved.
Plan Plans::make(cublasLtHandle_t handle, const PlanKey& key)
{
    const CublasLt& cublas = CublasLt::loaded();
    const MatmulExtents e{key.m, key.n, key.k};
    Plan plan{};
    check_cublas(cublas.matmul_desc_init(
                     &plan.product, sizeof plan.product,
                     key.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
                 "cublasLtMatmulDescInit", e);
    if (key.factors_in_memory)
        set(plan, CUBLASLT_MATMUL_DESC_POINTER_MODE, std::int32_t{CUBLASLT_POINTER_MODE_DEVICE}, e);
    set(plan, CUBLASLT_MATMUL_DESC_TRANSA, key.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, e);
    set(plan, CUBLASLT_MATMUL_DESC_TRANSB, key.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, e);
    const auto layout = [&](cublasLtMatrixLayoutOpaque_t& made, DType dtype, std::int64_t rows,
                            std::int64_t columns) {
        check_cublas(cublas.matrix_layout_init(&made, sizeof made, type_of(dtype),
                                               static_cast<std::uint64_t>(columns),
                                               static_cast<std::uint64_t>(rows), columns),
                     "cublasLtMatrixLayoutInit", e);
    };
    layout(plan.b, key.operands, key.transpose_b ? e.n : e.k, key.transpose_b ? e.k : e.n);
    layout(plan.a, key.operands, key.transpose_a ? e.k : e.m, key.transpose_a ? e.m : e.k);
    layout(plan.out, key.out, e.m, e.n);

    cublasLtMatmulPreferenceOpaque_t preference{};
    check_cublas(cublas.preference_init(&preference, sizeof preference),
                 "cublasLtMatmulPreferenceInit", e);
    set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{key.workspace_bytes},
        e);
    // Parts of a split inner dimension add in float32 and in order, never in bf16, never as they
    // come.
    set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        std::uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE} | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, e);
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, std::uint32_t{key.align_b}, e);
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, std::uint32_t{key.align_a}, e);
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, std::uint32_t{key.align_c}, e);
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, std::uint32_t{key.align_d}, e);

    cublasLtMatmulHeuristicResult_t choice{};
    int num_choices = 0;
    check_cublas(cublas.choose_algorithm(handle, &plan.product, &plan.b, &plan.a, &plan.out,
                                         &plan.out, &preference, 1, &choice, &num_choices),
                 "cublasLtMatmulAlgoGetHeuristic", e);
    check_cublas(num_choices > 0 ? choice.state : CUBLAS_STATUS_NOT_SUPPORTED,
                 "cublasLtMatmulAlgoGetHeuristic", e);
    plan.algorithm = choice.algo;
    return plan;
}

} // namespace

void run(Cuda cuda, const Matmul& op)
{
    const GpuStream& stream = GpuStream::of(cuda.stream); // throws where there is no GPU
    const DeviceMemory& workspace = stream.workspace();
    const int device = cuda.stream.device.index;
    const MatmulExtents e = extents_of(op);
    SLUICE_CHECK(op.a.dtype == op.b.dtype && (op.addend.empty() || op.addend.dtype == op.out.dtype),
                 "a " << name_of(op.a.dtype) << ", b " << name_of(op.b.dtype) << ", out "
                      << name_of(op.out.dtype));
    const TensorView& addend = op.addend.empty() ? op.out : op.addend;
    const bool in_memory = !op.alpha.memory.empty();
    const cublasLtHandle_t handle = Plans::all().handle(device, e);
    Plan plan = Plans::all().plan( // a copy: the library takes no const descriptions
        handle, {.device = device,
                 .m = e.m,
                 .n = e.n,
                 .k = e.k,
                 .transpose_a = op.transpose_a == Transpose::yes,
                 .transpose_b = op.transpose_b == Transpose::yes,
                 .with_addend = !op.addend.empty(),
                 .factors_in_memory = in_memory,
                 .operands = op.a.dtype,
                 .out = op.out.dtype,
                 .tf32 = cuda.stream.tf32 && op.a.dtype == DType::f32,
                 .align_a = alignment_of(op.a),
                 .align_b = alignment_of(op.b),
                 .align_c = alignment_of(addend),
                 .align_d = alignment_of(op.out),
                 .workspace_bytes = workspace.num_bytes()});
    const auto alpha = static_cast<float>(op.alpha.value);
    const float beta = op.addend.empty() ? 0.0F : static_cast<float>(op.beta);
    const float* alpha_at = in_memory ? op.alpha.memory.as<float>() : &alpha;
    const float* beta_at = in_memory ? Plans::all().number(beta, cuda.stream) : &beta;
    check_cublas(CublasLt::loaded().matmul(handle, &plan.product, alpha_at, op.b.data, &plan.b,
                                           op.a.data, &plan.a, beta_at, addend.data, &plan.out,
                                           op.out.data, &plan.out, &plan.algorithm,
                                           workspace.data(), workspace.num_bytes(),
                                           static_cast<cudaStream_t>(stream.native())),
                 "cublasLtMatmul", e);
}

} // namespace sluice::kernels
