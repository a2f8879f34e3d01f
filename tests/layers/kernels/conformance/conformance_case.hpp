// One operation on one shape, run by the float64 reference and by the backend under test: the
// CPU's, the GPU's own source on the CPU ("emulated"), or the GPU.
//
// A body builds operands from a Case, launches and checks. check_conformance runs it for every
// element type of the backend, each time twice: on aligned memory, then on misaligned memory (and
// emulated threads in the opposite order); emulated once more in that order on aligned memory,
// where copies to shared memory then arrive early (not when watched for races, which are found in
// any order). What all leave must be the same bits.
#pragma once

#include "core/bfloat16.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/tensor_view.hpp"
#include "layers/kernels/launch.hpp"
#include "tests/layers/kernels/cuda/emulated_gpu.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::testing {

/// `races`: emulated, and watched for races. `cudnn`: on the GPU, with cuDNN's attention in place
/// of our own.
enum class BackendUnderTest { cpu, emulated, races, gpu, cudnn };

/// From the command line (`-- emulated`).
BackendUnderTest backend_under_test();
void set_backend_under_test(BackendUnderTest backend);

/// On a GPU under NVIDIA's checkers (`-- checked`), which slow kernels down a hundred times.
bool watched_by_checkers();
void set_watched_by_checkers();

/// For what takes a GPU to be computed in time, or is a library's there.
bool on_a_real_gpu();

/// `all` of them, or `few`, one of each kind, where a checker watches.
template <class T>
std::vector<T> cases(std::vector<T> all, std::vector<T> few)
{
    return watched_by_checkers() ? std::move(few) : std::move(all);
}

/// Half the distance between neighbours, relative: what one rounding to the type may change.
constexpr double rounding_of(DType dtype)
{
    return dtype == DType::f64 ? 0x1p-53 : dtype == DType::f32 ? 0x1p-24 : 0x1p-8;
}
/// Distance between 1 and the next float.
inline constexpr double epsilon = 0x1p-23;

enum class Placement { aligned, misaligned };

/// A tensor where the backend under test computes, between guards.
class TestedTensor {
public:
    TestedTensor(const Shape& shape, DType dtype, Placement placement, const GpuStream* gpu);
    ~TestedTensor();
    TestedTensor(const TestedTensor&) = delete;
    TestedTensor& operator=(const TestedTensor&) = delete;

    TensorView view() const { return view_; }
    double get(std::size_t element) const;
    void set(std::size_t element, double value);
    void upload();
    void download();
    bool guards_intact() const;
    std::vector<std::byte> bytes() const;

private:
    std::byte* payload() const;

    Shape shape_;
    DType dtype_;
    std::size_t offset_bytes_, num_bytes_, total_bytes_;
    std::unique_ptr<std::byte[]> host_;
    std::byte* begin_; ///< of host_, on a multiple of 64
    const GpuStream* gpu_;
    DeviceMemory device_;
    TensorView view_;
};

/// One operand twice: float64 for the reference, and the same values for the backend under test.
struct Operand {
    std::vector<double> values;
    std::vector<std::int32_t> ids; ///< for token ids, instead of values
    Shape shape;
    std::shared_ptr<TestedTensor> tested;
    DType dtype;
};

class Case {
public:
    Case(DType compute, Placement placement, const EmulatedGpu& emulated = {});

    /// f32 or bf16: what activations and weights are.
    DType compute() const { return compute_; }
    /// What gradients of weights are, from case to case f32 or the compute type.
    DType gradient(std::uint64_t seed) const { return seed % 2 == 0 ? DType::f32 : compute_; }
    std::string name(const std::string& shape) const;

    /// Normal numbers times `scale`, rounded to `dtype` for both.
    Operand random(const Shape& shape, DType dtype, std::uint64_t seed, double scale = 1.0);
    /// NaN everywhere: whatever is not overwritten, or read before, shows.
    Operand poisoned(const Shape& shape, DType dtype);
    Operand filled(const Shape& shape, DType dtype, double value);
    Operand token_ids(std::vector<std::int32_t> ids);

    /// Runs make(side) on both, where side(operand) is the operand's view there.
    template <class Make>
    void launch(Make&& make)
    {
        kernels::launch(Stream{.backend = Backend::reference}, make(reference_side));
        launch_tested(make);
    }
    /// On the backend under test alone.
    template <class Make>
    void launch_tested(Make&& make)
    {
        const auto op = make(tested_side);
        switch (backend_under_test()) {
        case BackendUnderTest::cpu:
            if constexpr (requires { run(kernels::Cpu{}, op); })
                run(kernels::Cpu{}, op);
            return;
        case BackendUnderTest::emulated:
        case BackendUnderTest::races:
            if constexpr (requires { testing::run(EmulatedGpu{}, op); })
                testing::run(emulated_, op);
            else
                SLUICE_CHECK(false, "this operation is not emulated");
            return;
        case BackendUnderTest::gpu:
        case BackendUnderTest::cudnn: kernels::launch(gpu_stream(), op); return;
        }
    }

    /// |tested - reference| <= arithmetic + the operand's rounding of the value, everywhere; guards
    /// untouched. The bits join what two runs of a case are compared by.
    void check(Operand& operand, double arithmetic, const std::string& what);
    /// The same with a bound of its own for every element.
    void check(Operand& operand, const std::function<double(std::size_t)>& arithmetic,
               const std::string& what);
    /// tested == reference, bit for bit.
    void check_exactly(Operand& operand, const std::string& what);
    /// All of this operand's bits, now.
    std::vector<std::byte> bits_of(Operand& operand);

    const std::vector<std::byte>& all_bits() const { return all_bits_; }

    /// Products of f32 may round their operands to TF32 from now on (Stream::tf32).
    void allow_tf32() { tf32_ = true; }
    /// What launch_tested() launches on where the backend is a GPU's.
    Stream gpu_stream() const;
    /// The operand's view there.
    static TensorView tested_side(Operand& operand);

private:
    static TensorView reference_side(Operand& operand);
    Operand make(const Shape& shape, DType dtype, const std::function<double(std::size_t)>& value);

    DType compute_;
    Placement placement_;
    EmulatedGpu emulated_;
    GpuStream* gpu_ = nullptr;
    bool tf32_ = false;
    std::vector<std::byte> all_bits_;
};

/// Where a GPU is emulated: cases that take long run in one type alone.
inline bool one_type_will_do(const Case& c)
{
    return (backend_under_test() == BackendUnderTest::races ||
            backend_under_test() == BackendUnderTest::emulated) &&
           c.compute() == DType::f32;
}

using CaseBody = std::function<void(Case&)>;
/// `second`: aligned where a library promises no more than the same bits for the same alignment.
void check_conformance(const CaseBody& body, Placement second = Placement::misaligned);

} // namespace sluice::testing
