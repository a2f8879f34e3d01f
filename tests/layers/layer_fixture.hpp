// What the layers' tests share: owned tensors with reproducible numbers, a small model of every
// arrangement, and central differences.
#pragma once

#include "core/bfloat16.hpp"
#include "core/parallel.hpp"
#include "core/random.hpp"
#include "layers/model_chunk.hpp"
#include "layers/parameter_memory.hpp"
#include "layers/weight.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace sluice::testing {

inline const Stream reference_stream{Backend::reference, {}, nullptr};

/// For a whole suite: the tests' loops are too short to share, and waiting threads only disturb.
struct OneThread {
    OneThread() { set_num_threads(1); }
    ~OneThread() { set_num_threads(before); }
    int before = num_threads();
};

/// A float64 tensor that owns its numbers.
class Owned {
public:
    explicit Owned(const Shape& shape)
        : shape_(shape), numbers_(static_cast<std::size_t>(shape.num_elements()), 0.0)
    {
    }
    /// Normal numbers of stream (seed 7, name), times `scale`, plus `offset`.
    Owned(const Shape& shape, const std::string& name, double scale = 1.0, double offset = 0.0)
        : Owned(shape)
    {
        const RandomStream random(7, name);
        for (std::size_t i = 0; i < numbers_.size(); ++i)
            numbers_[i] = offset + scale * random.normal(i);
    }
    TensorView view() { return view_of(numbers_.data(), shape_); }
    std::vector<double>& numbers() { return numbers_; }
    double operator[](std::size_t i) const { return numbers_[i]; }

private:
    Shape shape_;
    std::vector<double> numbers_;
};

/// A weight with its gradient.
struct OwnedWeight {
    OwnedWeight(const Shape& shape, const std::string& name, double scale = 1.0,
                double offset = 0.0)
        : value(shape, name, scale, offset), gradient(shape)
    {
    }
    Weight weight() { return {value.view(), gradient.view()}; }
    Owned value, gradient;
};

inline double dot(const TensorView& a, const TensorView& b)
{
    double sum = 0.0;
    for (std::int64_t i = 0; i < a.num_elements(); ++i)
        sum += a.as<double>()[i] * b.as<double>()[i];
    return sum;
}

/// df/dx at the current x, by central differences of fourth order; x is restored.
inline double difference_quotient(double& x, const std::function<double()>& f, double h = 1e-3)
{
    const double x0 = x;
    const auto at = [&](double step) {
        x = x0 + step;
        return f();
    };
    const double near = at(h) - at(-h);
    const double far = at(2 * h) - at(-2 * h);
    x = x0;
    return (8.0 * near - far) / (12.0 * h);
}

/// Compares `gradient` with differences of `f` in about `num_samples` elements of `x`.
inline void check_gradient(const std::string& what, const TensorView& x, const TensorView& gradient,
                           const std::function<double()>& f, std::int64_t num_samples = 5)
{
    BOOST_REQUIRE(x.num_elements() == gradient.num_elements());
    double largest = 0.0;
    for (std::int64_t i = 0; i < gradient.num_elements(); ++i)
        largest = std::max(largest, std::abs(gradient.as<double>()[i]));
    const std::int64_t step = std::max<std::int64_t>(1, x.num_elements() / num_samples);
    for (std::int64_t i = step / 2; i < x.num_elements(); i += step) {
        const double expected = difference_quotient(x.as<double>()[i], f);
        const double found = gradient.as<double>()[i];
        BOOST_CHECK_MESSAGE(
            std::abs(found - expected) <= 1e-6 * std::abs(expected) + 1e-7 * largest + 1e-11,
            what << "[" << i << "]: " << found << ", differences give " << expected);
    }
}

inline bool same_bits(const TensorView& a, const TensorView& b)
{
    return a.dtype == b.dtype && a.num_bytes() == b.num_bytes() &&
           std::memcmp(a.data, b.data, a.num_bytes()) == 0;
}

inline bool all_zero(const TensorView& x)
{
    const auto* bytes = static_cast<const unsigned char*>(x.data);
    for (std::size_t i = 0; i < x.num_bytes(); ++i)
        if (bytes[i] != 0)
            return false;
    return true;
}

/// The bytes of a group's values that belong to none of its parameters. `values`: all of the
/// group's, or a copy of them.
inline std::vector<std::byte> gaps_of(const ParameterGroup& group,
                                      std::span<const Parameter> parameters,
                                      std::span<const std::byte> values)
{
    std::vector<bool> taken(values.size(), false);
    for (const Parameter& parameter : parameters.subspan(group.first, group.last - group.first)) {
        const auto begin = static_cast<const std::byte*>(parameter.value.data) -
                           static_cast<const std::byte*>(group.value.data);
        std::fill_n(taken.begin() + begin, parameter.value.num_bytes(), true);
    }
    std::vector<std::byte> gaps;
    for (std::size_t i = 0; i < values.size(); ++i)
        if (!taken[i])
            gaps.push_back(values[i]);
    return gaps;
}

/// An arrangement with its LNS variant, and its name.
struct Variant {
    Arrangement arrangement;
    LnsVariant lns = LnsVariant::fixed;
    std::string name() const
    {
        return std::string(name_of(arrangement)) + (lns == LnsVariant::init ? "-init" : "");
    }
};

inline const std::vector<Variant> all_variants = {
    {Arrangement::pre},      {Arrangement::post}, {Arrangement::sandwich},
    {Arrangement::deepnorm}, {Arrangement::lns},  {Arrangement::lns, LnsVariant::init}};

inline ModelSpec small_model(const Variant& variant)
{
    ModelSpec spec;
    spec.vocab_size = 13;
    spec.hidden_size = 8;
    spec.intermediate_size = 12;
    spec.num_layers = 4;
    spec.num_heads = 2;
    spec.max_seq_len = 16;
    spec.arrangement = variant.arrangement;
    spec.lns = variant.lns;
    spec.init_std = 0.4; // so that every branch matters
    return spec;
}

/// Wide enough to fill vectors and tiles of fast kernels, on both sides of their edges.
inline ModelSpec wide_model(const Variant& variant)
{
    ModelSpec spec = small_model(variant);
    spec.vocab_size = 530;
    spec.hidden_size = 136;
    spec.intermediate_size = 200;
    spec.max_seq_len = 70;
    spec.init_std = 0.1;
    return spec;
}

/// fp64 on the reference kernels, the others on the CPU's.
inline const std::vector<Precision> all_precisions = {fp64_precision, fp32_precision,
                                                      bf16_precision, pure_bf16_precision};

inline ModelChunkOptions whole_model(const ModelSpec& spec,
                                     const Precision& precision = fp64_precision)
{
    const bool reference = precision == fp64_precision;
    return {.model = spec,
            .range = {.begin = 0, .end = spec.num_layers, .embedding = true, .head = true},
            .micro_batch = {.num_sequences = 2, .seq_len = 5},
            .num_slots = 1,
            .num_gradient_slots = 1,
            .split = BackwardSplit::fused,
            .precision = precision,
            .stream = {.backend = reference ? Backend::reference : Backend::cpu}};
}

inline ModelChunkOptions whole_model(const ModelSpec& spec, Backend backend)
{
    return whole_model(spec, backend == Backend::reference ? fp64_precision : fp32_precision);
}

inline void add_noise(const Parameter& parameter)
{
    const RandomStream random(11, parameter.spec.name + " noise");
    for (std::int64_t i = 0; i < parameter.value.num_elements(); ++i) {
        const double noise = 0.2 * random.normal(static_cast<std::uint64_t>(i));
        switch (parameter.value.dtype) {
        case DType::f64: parameter.value.as<double>()[i] += noise; break;
        case DType::f32: parameter.value.as<float>()[i] += static_cast<float>(noise); break;
        default:
            BFloat16& value = parameter.value.as<BFloat16>()[i];
            value = bfloat16_of(float_of(value) + static_cast<float>(noise));
        }
    }
}

/// Initial weights, with norms that are not constant.
inline void fill_parameters(ModelChunk& chunk)
{
    for (const Parameter& parameter : chunk.parameters()) {
        initialize(chunk.options().model, 3, parameter);
        if (parameter.spec.init_std == 0.0)
            add_noise(parameter);
    }
}

/// Token ids of micro-batch `m`; the same token occurs more than once.
inline void fill_tokens(const TensorView& tokens, std::int64_t vocab_size, int m, const char* name)
{
    const RandomStream random(5, name + std::to_string(m));
    for (std::int64_t i = 0; i < tokens.num_elements(); ++i)
        tokens.as<std::int32_t>()[i] = static_cast<std::int32_t>(
            random.bits(static_cast<std::uint64_t>(i)) % static_cast<std::uint64_t>(vocab_size));
}

inline void fill_micro_batch(ModelChunk& chunk, std::int64_t slot, int m)
{
    const std::int64_t vocab_size = chunk.options().model.vocab_size;
    if (chunk.options().range.embedding)
        fill_tokens(chunk.input_tokens(slot), vocab_size, m, "inputs");
    if (chunk.options().range.head)
        fill_tokens(chunk.target_tokens(slot), vocab_size, m, "targets");
}

inline const std::vector<double> mixed_gates = {1.0, 0.3, 0.0, 0.7};

} // namespace sluice::testing
