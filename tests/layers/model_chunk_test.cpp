#include "layers/model_chunk.hpp"

#include "core/parallel.hpp"
#include "layers/kernels/adamw.hpp"
#include "tests/layers/chunk_chain_fixture.hpp"
#include "tests/layers/naive_model_fixture.hpp"

#include <algorithm>

namespace sluice {
namespace {

using testing::check_same;
using testing::mixed_gates;
using testing::Run;
using testing::Variant;

const std::vector<double> all_open = {1.0, 1.0, 1.0, 1.0};
constexpr double loss_scale = 0.05;

/// Micro-batches one after another through one chunk.
Run run_whole(const ModelSpec& spec, const Precision& precision, int num_microbatches,
              const std::vector<double>& alphas, const MicroBatchShape& micro_batch = {2, 5})
{
    ModelChunkOptions options = testing::whole_model(spec, precision);
    options.micro_batch = micro_batch;
    return testing::run_whole(options, num_microbatches, alphas, loss_scale);
}

BOOST_AUTO_TEST_SUITE(model_chunk, *boost::unit_test::fixture<testing::OneThread>())

BOOST_AUTO_TEST_CASE(loss_and_residual_stream_are_those_of_the_plain_equations)
{
    for (const Variant& variant : testing::all_variants)
        for (const auto& alphas : {mixed_gates, all_open, std::vector<double>{0, 0, 0, 0}}) {
            ModelChunk chunk(testing::whole_model(testing::small_model(variant)));
            testing::fill_parameters(chunk);
            testing::fill_micro_batch(chunk, 0, 0);
            chunk.set_activation_norms(ActivationNorms::measured);
            chunk.forward(0, alphas);
            chunk.evaluate(0);
            const testing::NaiveResult naive = testing::naive_forward(chunk, alphas);
            BOOST_CHECK_MESSAGE(std::abs(chunk.loss_sum() - naive.loss_sum) < 1e-11,
                                variant.name()
                                    << ": loss " << chunk.loss_sum() << ", not " << naive.loss_sum);
            for (std::int64_t i = 0; i < chunk.output(0).num_elements(); ++i)
                BOOST_REQUIRE_SMALL(chunk.output(0).as<double>()[i] -
                                        naive.streams.back()[static_cast<std::size_t>(i)],
                                    1e-11);
            std::vector<double> rms(4);
            chunk.activation_norms(rms);
            for (std::size_t layer = 0; layer < rms.size(); ++layer) {
                double sum = 0.0;
                for (const double v : naive.streams[layer])
                    sum += v * v;
                BOOST_CHECK_SMALL(
                    rms[layer] - std::sqrt(sum / static_cast<double>(naive.streams[layer].size())),
                    1e-11);
            }
        }
}

BOOST_AUTO_TEST_CASE(with_all_gates_closed_pre_norm_is_the_identity_behind_the_embedding)
{
    const std::vector<double> closed = {0, 0, 0, 0};
    for (const Precision& precision : testing::all_precisions)
        for (const Arrangement arrangement :
             {Arrangement::pre, Arrangement::lns, Arrangement::sandwich}) {
            ModelChunk chunk(testing::whole_model(testing::small_model({arrangement}), precision));
            testing::fill_parameters(chunk);
            testing::fill_micro_batch(chunk, 0, 0);
            chunk.forward(0, closed);
            BOOST_CHECK(testing::same_bits(chunk.output(0), chunk.input(0)));
            BOOST_CHECK(!testing::all_zero(chunk.output(0)));
            chunk.backward(0, 0, closed, loss_scale);
            for (const Parameter& parameter : chunk.parameters())
                BOOST_CHECK_EQUAL(testing::all_zero(parameter.gradient), parameter.spec.layer >= 0);
        }
}

// Replicas compare groups as a whole.
BOOST_AUTO_TEST_CASE(what_lies_between_parameters_stays_zero)
{
    std::size_t num_gap_bytes = 0;
    for (const Precision& precision : testing::all_precisions) {
        ModelChunk chunk(
            testing::whole_model(testing::small_model({Arrangement::sandwich}), precision));
        testing::fill_parameters(chunk);
        testing::fill_micro_batch(chunk, 0, 0);
        chunk.forward(0, mixed_gates);
        chunk.backward(0, 0, mixed_gates, loss_scale);
        kernels::AdamW step{};
        step.lr = step.weight_decay = 0.1;
        chunk.update_weights(step);
        for (const ParameterGroup& group : groups_of(chunk.parameters())) {
            const std::vector<std::byte> gaps = testing::gaps_of(
                group, chunk.parameters(),
                {static_cast<const std::byte*>(group.value.data), group.value.num_bytes()});
            num_gap_bytes += gaps.size();
            BOOST_CHECK(std::ranges::count(gaps, std::byte{}) == std::ssize(gaps));
        }
    }
    BOOST_CHECK_GT(num_gap_bytes, 0); // not in every precision
}

BOOST_AUTO_TEST_CASE(measured_norms_outlive_the_slot)
{
    ModelChunk chunk(testing::whole_model(testing::small_model({Arrangement::pre})));
    testing::fill_parameters(chunk);
    testing::fill_micro_batch(chunk, 0, 0);
    std::vector<double> rms(4), later(4);
    chunk.activation_norms(rms);
    BOOST_TEST(rms == std::vector<double>(4, 0.0), boost::test_tools::per_element());
    chunk.set_activation_norms(ActivationNorms::measured);
    chunk.forward(0, mixed_gates);
    chunk.activation_norms(rms);
    BOOST_CHECK_GT(rms[0], 0.0);
    chunk.set_activation_norms(ActivationNorms::ignored);
    chunk.backward(0, 0, mixed_gates, loss_scale);
    testing::fill_micro_batch(chunk, 0, 1);
    chunk.forward(0, mixed_gates);
    chunk.activation_norms(later);
    BOOST_TEST(later == rms, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(any_number_of_threads_gives_the_same_bits)
{
    const int threads = num_threads();
    for (const Arrangement arrangement : {Arrangement::deepnorm, Arrangement::sandwich}) {
        const ModelSpec spec = testing::wide_model({arrangement});
        for (const Precision& precision : {fp32_precision, bf16_precision}) {
            set_num_threads(1);
            const Run one = run_whole(spec, precision, 1, mixed_gates, {2, 70});
            set_num_threads(3);
            const Run three = run_whole(spec, precision, 1, mixed_gates, {2, 70});
            set_num_threads(threads);
            check_same(three, one, std::string(name_of(arrangement)));
        }
    }
}

BOOST_AUTO_TEST_CASE(single_precision_follows_double_precision)
{
    for (const Variant& variant : testing::all_variants) {
        const ModelSpec spec = testing::wide_model(variant);
        const Run in_double = run_whole(spec, fp64_precision, 1, mixed_gates, {2, 9});
        const Run in_single = run_whole(spec, fp32_precision, 1, mixed_gates, {2, 9});
        BOOST_CHECK_CLOSE(in_single.losses[0], in_double.losses[0], 1e-3); // percent
        for (std::size_t p = 0; p < in_double.gradients.size(); ++p) {
            const auto* expected = reinterpret_cast<const double*>(in_double.gradients[p].data());
            const auto* found = reinterpret_cast<const float*>(in_single.gradients[p].data());
            const std::size_t count = in_double.gradients[p].size() / sizeof(double);
            double difference = 0.0, norm = 0.0;
            for (std::size_t i = 0; i < count; ++i) {
                difference += (found[i] - expected[i]) * (found[i] - expected[i]);
                norm += expected[i] * expected[i];
            }
            BOOST_CHECK_MESSAGE(difference <= 1e-10 * norm, variant.name()
                                                                << " parameter " << p << ": "
                                                                << std::sqrt(difference / norm));
        }
    }
}

/// Loss and gradients in float64, on weights that bf16 holds exactly.
Run run_rounded(const ModelSpec& spec, const std::vector<double>& alphas,
                const MicroBatchShape& micro_batch)
{
    ModelChunkOptions options = testing::whole_model(spec);
    options.micro_batch = micro_batch;
    ModelChunk chunk(options);
    testing::fill_parameters(chunk);
    for (const Parameter& parameter : chunk.parameters())
        for (double& weight : parameter.value.elements<double>())
            weight = static_cast<double>(float_of(bfloat16_of(static_cast<float>(weight))));
    testing::fill_micro_batch(chunk, 0, 0);
    chunk.forward(0, alphas);
    chunk.backward(0, 0, alphas, loss_scale);
    return {{chunk.loss_sum()}, testing::gradients_of(chunk)};
}

// Arithmetic is in float32; what counts is that every tensor is rounded where it is stored. One
// rounding moves an element by up to 2^-8 of it, in the root mean square by 0.4 of that. A gradient
// has nine tensors behind it in each layer on the way there and nine on the way back, in four
// layers, one of them closed: 54 independent roundings, sqrt(54) 0.4 2^-8 = 1.2 percent of a
// gradient's norm; half of them move both factors of the product that a gradient is. Twice that is
// allowed.
BOOST_AUTO_TEST_CASE(bf16_follows_double_precision)
{
    const double allowed = 2.0 * std::sqrt(54.0) * 0.4 * 0x1p-8;
    double worst = 0.0;
    for (const Variant& variant : testing::all_variants) {
        const ModelSpec spec = testing::wide_model(variant);
        const Run in_double = run_rounded(spec, mixed_gates, {2, 9});
        const Run in_bf16 = run_whole(spec, bf16_precision, 1, mixed_gates, {2, 9});
        BOOST_CHECK_CLOSE_FRACTION(in_bf16.losses[0], in_double.losses[0], allowed / 10);
        for (std::size_t p = 0; p < in_double.gradients.size(); ++p) {
            const auto* expected = reinterpret_cast<const double*>(in_double.gradients[p].data());
            const auto* found = reinterpret_cast<const float*>(in_bf16.gradients[p].data());
            const std::size_t count = in_double.gradients[p].size() / sizeof(double);
            double difference = 0.0, norm = 0.0;
            for (std::size_t i = 0; i < count; ++i) {
                difference += (found[i] - expected[i]) * (found[i] - expected[i]);
                norm += expected[i] * expected[i];
            }
            if (norm == 0.0)
                BOOST_CHECK_EQUAL(difference, 0.0);
            else
                worst = std::max(worst, std::sqrt(difference / norm));
            BOOST_CHECK_MESSAGE(difference <= allowed * allowed * norm,
                                variant.name()
                                    << " parameter " << p << ": " << std::sqrt(difference / norm));
        }
    }
    BOOST_TEST_MESSAGE("worst relative error of a gradient in bf16: " << worst);
    BOOST_CHECK_GT(worst, 0x1p-9); // bf16 it is
}

BOOST_AUTO_TEST_CASE(gradients_add_over_micro_batches_and_can_be_cleared)
{
    const ModelSpec spec = testing::small_model({Arrangement::sandwich});
    ModelChunk chunk(testing::whole_model(spec));
    testing::fill_parameters(chunk);
    std::vector<std::vector<double>> sum;
    for (int m = 0; m < 2; ++m) {
        chunk.zero_gradients();
        for (const Parameter& parameter : chunk.parameters())
            BOOST_CHECK(testing::all_zero(parameter.gradient));
        testing::fill_micro_batch(chunk, 0, m);
        chunk.forward(0, mixed_gates);
        chunk.backward(0, 0, mixed_gates, loss_scale);
        for (std::size_t p = 0; p < chunk.parameters().size(); ++p) {
            const auto gradient = chunk.parameters()[p].gradient.elements<double>();
            if (m == 0)
                sum.emplace_back(gradient.begin(), gradient.end());
            else
                for (std::size_t i = 0; i < gradient.size(); ++i)
                    sum[p][i] += gradient[i];
        }
    }
    const Run both = run_whole(spec, fp64_precision, 2, mixed_gates);
    for (std::size_t p = 0; p < sum.size(); ++p)
        for (std::size_t i = 0; i < sum[p].size(); ++i)
            BOOST_REQUIRE_SMALL(
                reinterpret_cast<const double*>(both.gradients[p].data())[i] - sum[p][i], 1e-14);
}

BOOST_AUTO_TEST_CASE(evaluation_gives_the_training_loss_and_touches_no_gradient)
{
    for (const Precision& precision : testing::all_precisions) {
        ModelChunk chunk(testing::whole_model(testing::small_model({Arrangement::pre}), precision));
        testing::fill_parameters(chunk);
        testing::fill_micro_batch(chunk, 0, 0);
        chunk.forward(0, mixed_gates);
        chunk.evaluate(0);
        const double evaluated = chunk.loss_sum();
        for (const Parameter& parameter : chunk.parameters())
            BOOST_CHECK(testing::all_zero(parameter.gradient));
        chunk.backward(0, 0, mixed_gates, loss_scale);
        BOOST_CHECK_EQUAL(chunk.loss_sum(), evaluated);
    }
}

BOOST_AUTO_TEST_CASE(misuse_is_a_broken_promise)
{
    ModelChunkOptions options = testing::whole_model(testing::small_model({Arrangement::pre}));
    ModelChunk fused(options);
    testing::fill_parameters(fused);
    testing::fill_micro_batch(fused, 0, 0);
    fused.forward(0, mixed_gates);
    BOOST_CHECK_THROW(fused.backward_input(0, 0, mixed_gates, 1.0), InvariantError);
    BOOST_CHECK_THROW(fused.backward_weight(0, 0, mixed_gates), InvariantError);
    BOOST_CHECK_THROW(fused.forward(1, mixed_gates), InvariantError);
    BOOST_CHECK_THROW(fused.backward(0, 1, mixed_gates, 1.0), InvariantError);
    BOOST_CHECK_THROW(fused.forward(0, std::vector<double>(3, 1.0)), InvariantError);
    BOOST_CHECK_THROW(fused.output_gradient(0), InvariantError);
    BOOST_CHECK_THROW(fused.input_gradient(0), InvariantError);
    options.range = {.begin = 1, .end = 2, .embedding = false, .head = false};
    const ModelChunk middle(options);
    BOOST_CHECK_THROW(middle.input_tokens(0), InvariantError);
    BOOST_CHECK_THROW(middle.target_tokens(0), InvariantError);
    BOOST_CHECK_THROW(middle.loss_sum(), InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
