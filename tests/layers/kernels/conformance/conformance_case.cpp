#include "tests/layers/kernels/conformance/conformance_case.hpp"

#include "core/cuda/gpu.hpp"
#include "core/random.hpp"
#include "core/wait_attendant.hpp"

#include <algorithm>
#include <bit>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <limits>

namespace sluice::testing {

namespace {

constexpr std::size_t guard_bytes = 64;
constexpr auto guard_byte = std::byte{0xa5};

BackendUnderTest chosen_backend = BackendUnderTest::cpu;
bool checkers_watch = false;

GpuStream* the_gpu()
{
    static std::unique_ptr<GpuStream> stream;
    if (chosen_backend != BackendUnderTest::gpu && chosen_backend != BackendUnderTest::cudnn)
        return nullptr;
    if (!stream)
        stream = std::make_unique<GpuStream>(use_gpu(0));
    return stream.get();
}

double rounded(double value, DType dtype)
{
    switch (dtype) {
    case DType::bf16: return static_cast<double>(float_of(bfloat16_of(static_cast<float>(value))));
    case DType::f32: return static_cast<double>(static_cast<float>(value));
    default: return value;
    }
}

} // namespace

BackendUnderTest backend_under_test() { return chosen_backend; }
void set_backend_under_test(BackendUnderTest backend) { chosen_backend = backend; }

bool watched_by_checkers() { return checkers_watch; }
void set_watched_by_checkers() { checkers_watch = true; }

bool on_a_real_gpu()
{
    return backend_under_test() == BackendUnderTest::gpu && gpu_info(0).name != "emulated GPU";
}

TestedTensor::TestedTensor(const Shape& shape, DType dtype, Placement placement,
                           const GpuStream* gpu)
    : shape_(shape), dtype_(dtype),
      offset_bytes_(guard_bytes + (placement == Placement::misaligned ? size_of(dtype) : 0)),
      num_bytes_(static_cast<std::size_t>(shape.num_elements()) * size_of(dtype)),
      total_bytes_(offset_bytes_ + num_bytes_ + guard_bytes),
      host_(std::make_unique<std::byte[]>(total_bytes_ + 64)), gpu_(gpu)
{
    void* memory = host_.get();
    std::size_t space = total_bytes_ + 64;
    begin_ = static_cast<std::byte*>(std::align(64, total_bytes_, memory, space));
    std::fill_n(begin_, total_bytes_, guard_byte);
    std::byte* where = begin_;
    if (gpu) {
        device_ = DeviceMemory(total_bytes_);
        where = static_cast<std::byte*>(device_.data());
    }
    view_ = {where + offset_bytes_, dtype, shape, gpu ? gpu->stream().device : Device{}};
}

/// An operation may still use it.
TestedTensor::~TestedTensor()
{
    if (gpu_)
        drain(gpu_->stream());
}

std::byte* TestedTensor::payload() const { return begin_ + offset_bytes_; }

double TestedTensor::get(std::size_t element) const
{
    const std::byte* at = payload() + element * size_of(dtype_);
    if (dtype_ == DType::f64) {
        double value;
        std::memcpy(&value, at, sizeof value);
        return value;
    }
    if (dtype_ == DType::bf16) {
        BFloat16 value;
        std::memcpy(&value, at, sizeof value);
        return static_cast<double>(float_of(value));
    }
    float value;
    std::memcpy(&value, at, sizeof value);
    return static_cast<double>(value);
}

void TestedTensor::set(std::size_t element, double value)
{
    std::byte* at = payload() + element * size_of(dtype_);
    const auto put = [at](auto typed) { std::memcpy(at, &typed, sizeof typed); };
    switch (dtype_) {
    case DType::f64: return put(value);
    case DType::bf16: return put(bfloat16_of(static_cast<float>(value)));
    case DType::i32: return put(static_cast<std::int32_t>(value));
    default: return put(static_cast<float>(value));
    }
}

void TestedTensor::upload()
{
    if (!gpu_)
        return;
    gpu_->copy(device_.data(), begin_, total_bytes_);
    gpu_->synchronize();
}

void TestedTensor::download()
{
    if (!gpu_)
        return;
    gpu_->copy(begin_, device_.data(), total_bytes_);
    gpu_->synchronize();
}

bool TestedTensor::guards_intact() const
{
    const auto is_guard = [](std::byte byte) { return byte == guard_byte; };
    return std::all_of(begin_, payload(), is_guard) &&
           std::all_of(payload() + num_bytes_, begin_ + total_bytes_, is_guard);
}

std::vector<std::byte> TestedTensor::bytes() const { return {payload(), payload() + num_bytes_}; }

Case::Case(DType compute, Placement placement, const EmulatedGpu& emulated)
    : compute_(compute), placement_(placement), emulated_(emulated), gpu_(the_gpu())
{
}

Stream Case::gpu_stream() const
{
    Stream stream = gpu_->stream();
    stream.tf32 = tf32_;
    stream.cudnn_attention = backend_under_test() == BackendUnderTest::cudnn;
    return stream;
}

std::string Case::name(const std::string& shape) const
{
    return std::string(name_of(compute_)) + " " + shape +
           (placement_ == Placement::aligned ? "" : ", misaligned");
}

Operand Case::make(const Shape& shape, DType dtype, const std::function<double(std::size_t)>& value)
{
    Operand operand{.values = std::vector<double>(static_cast<std::size_t>(shape.num_elements())),
                    .ids = {},
                    .shape = shape,
                    .tested = std::make_shared<TestedTensor>(shape, dtype, placement_, gpu_),
                    .dtype = dtype};
    for (std::size_t i = 0; i < operand.values.size(); ++i) {
        operand.values[i] = rounded(value(i), dtype);
        operand.tested->set(i, operand.values[i]);
    }
    operand.tested->upload();
    return operand;
}

Operand Case::random(const Shape& shape, DType dtype, std::uint64_t seed, double scale)
{
    const RandomStream stream(seed, "test.conformance");
    return make(shape, dtype, [&](std::size_t i) { return scale * stream.normal(i); });
}

Operand Case::poisoned(const Shape& shape, DType dtype)
{
    return filled(shape, dtype, std::numeric_limits<double>::quiet_NaN());
}

Operand Case::filled(const Shape& shape, DType dtype, double value)
{
    return make(shape, dtype, [value](std::size_t) { return value; });
}

Operand Case::token_ids(std::vector<std::int32_t> ids)
{
    const Shape shape{static_cast<std::int64_t>(ids.size())};
    Operand operand = make(shape, DType::i32, [&](std::size_t i) { return ids[i]; });
    operand.ids = std::move(ids);
    return operand;
}

TensorView Case::reference_side(Operand& operand)
{
    if (operand.dtype == DType::i32)
        return view_of(operand.ids.data(), operand.shape);
    return view_of(operand.values.data(), operand.shape);
}

TensorView Case::tested_side(Operand& operand) { return operand.tested->view(); }

std::vector<std::byte> Case::bits_of(Operand& operand)
{
    operand.tested->download();
    return operand.tested->bytes();
}

void Case::check(Operand& operand, double arithmetic, const std::string& what)
{
    check(
        operand, [arithmetic](std::size_t) { return arithmetic; }, what);
}

void Case::check(Operand& operand, const std::function<double(std::size_t)>& arithmetic,
                 const std::string& what)
{
    const std::vector<std::byte> bits = bits_of(operand);
    all_bits_.insert(all_bits_.end(), bits.begin(), bits.end());
    BOOST_TEST(operand.tested->guards_intact(), name(what) << ": wrote outside its tensor");
    for (std::size_t i = 0; i < operand.values.size(); ++i) {
        const double expected = operand.values[i], value = operand.tested->get(i);
        const double bound = arithmetic(i) + rounding_of(operand.dtype) * std::abs(expected);
        if (!(std::abs(value - expected) <= bound)) { // also when NaN
            BOOST_ERROR(name(what) << ": element " << i << " is " << value << ", expected "
                                   << expected << " within " << bound);
            return;
        }
    }
}

void Case::check_exactly(Operand& operand, const std::string& what)
{
    check(
        operand,
        [&operand](std::size_t i) {
            return -rounding_of(operand.dtype) * std::abs(operand.values[i]);
        },
        what);
}

void check_conformance(const CaseBody& body, Placement second)
{
    for (const DType type : {DType::f32, DType::bf16}) {
        Case once(type, Placement::aligned);
        body(once);
        const auto compare = [&](Case again) {
            body(again);
            BOOST_TEST((once.all_bits() == again.all_bits()),
                       again.name("other bits the second time"));
        };
        compare({type, second, {.order = ThreadOrder::descending}});
        if (backend_under_test() == BackendUnderTest::emulated)
            compare({type,
                     Placement::aligned,
                     {.order = ThreadOrder::descending, .arrival = CopyArrival::early}});
    }
}

} // namespace sluice::testing
