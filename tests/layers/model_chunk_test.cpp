#include "layers/model_chunk.hpp"

#include "core/parallel.hpp"
#include "layers/kernels/elementwise.hpp"
#include "tests/layers/naive_model_fixture.hpp"

#include <algorithm>

namespace sluice {
namespace {

using testing::mixed_gates;
using testing::Variant;

const std::vector<double> all_open = {1.0, 1.0, 1.0, 1.0};
constexpr double loss_scale = 0.05;

/// Copies of every gradient, parameter by parameter in the order of the whole model.
using Bytes = std::vector<std::vector<char>>;

Bytes gradients_of(ModelChunk& chunk)
{
    Bytes bytes;
    for (const Parameter& parameter : chunk.parameters()) {
        const char* const data = static_cast<const char*>(parameter.gradient.data);
        bytes.emplace_back(data, data + parameter.gradient.num_bytes());
    }
    return bytes;
}

void check_same(const Bytes& found, const Bytes& expected, const std::string& what)
{
    BOOST_REQUIRE_EQUAL(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i)
        BOOST_CHECK_MESSAGE(found[i] == expected[i], what << ": parameter " << i << " differs");
}

struct Run {
    std::vector<double> losses;
    Bytes gradients;
};

/// Micro-batches one after another through one chunk.
Run run_whole(const ModelSpec& spec, Backend backend, int num_microbatches,
              const std::vector<double>& alphas, const MicroBatchShape& micro_batch = {2, 5})
{
    ModelChunkOptions options = testing::whole_model(spec, backend);
    options.micro_batch = micro_batch;
    ModelChunk chunk(options);
    testing::fill_parameters(chunk);
    Run run;
    for (int m = 0; m < num_microbatches; ++m) {
        testing::fill_micro_batch(chunk, 0, m);
        chunk.forward(0, alphas);
        chunk.backward(0, 0, alphas, loss_scale);
        run.losses.push_back(chunk.loss_sum(0));
    }
    run.gradients = gradients_of(chunk);
    return run;
}

void copy(const TensorView& from, const TensorView& to, Backend backend)
{
    kernels::launch(Stream{backend, {}, nullptr}, kernels::Copy{.from = from, .to = to});
}

/// The same through two chunks, cut in front of layer `cut`.
Run run_cut(const ModelSpec& spec, Backend backend, std::int64_t cut, int num_microbatches,
            const std::vector<double>& alphas)
{
    ModelChunkOptions options = testing::whole_model(spec, backend);
    options.range = {.begin = 0, .end = cut, .embedding = true, .head = false};
    ModelChunk front(options);
    options.range = {.begin = cut, .end = spec.num_layers, .embedding = false, .head = true};
    ModelChunk back(options);
    testing::fill_parameters(front);
    testing::fill_parameters(back);
    const auto gates = std::span(alphas);
    const auto front_gates = gates.first(static_cast<std::size_t>(cut));
    const auto back_gates = gates.subspan(static_cast<std::size_t>(cut));
    Run run;
    for (int m = 0; m < num_microbatches; ++m) {
        testing::fill_micro_batch(front, 0, m);
        testing::fill_micro_batch(back, 0, m);
        front.forward(0, front_gates);
        copy(front.output(0), back.input(0), backend);
        back.forward(0, back_gates);
        back.backward(0, 0, back_gates, loss_scale);
        copy(back.input_gradient(0), front.output_gradient(0), backend);
        front.backward(0, 0, front_gates, loss_scale);
        run.losses.push_back(back.loss_sum(0));
    }
    run.gradients = gradients_of(front);
    for (auto& bytes : gradients_of(back))
        run.gradients.push_back(std::move(bytes));
    return run;
}

/// Three micro-batches in flight, their weight gradients only at the end.
Run run_delayed(const ModelSpec& spec, Backend backend, const std::vector<double>& alphas)
{
    ModelChunkOptions options = testing::whole_model(spec, backend);
    options.split = BackwardSplit::split;
    options.num_slots = 3;
    options.num_gradient_slots = 3;
    ModelChunk chunk(options);
    testing::fill_parameters(chunk);
    Run run;
    for (int m = 0; m < 3; ++m) {
        testing::fill_micro_batch(chunk, m, m);
        chunk.forward(m, alphas);
    }
    for (int m = 0; m < 3; ++m) {
        chunk.backward_input(m, m, alphas, loss_scale);
        run.losses.push_back(chunk.loss_sum(m));
    }
    for (int m = 0; m < 3; ++m)
        chunk.backward_weight(m, m, alphas);
    run.gradients = gradients_of(chunk);
    return run;
}

BOOST_AUTO_TEST_SUITE(model_chunk, *boost::unit_test::fixture<testing::OneThread>())

BOOST_AUTO_TEST_CASE(loss_and_residual_stream_are_those_of_the_plain_equations)
{
    for (const Variant& variant : testing::all_variants)
        for (const auto& alphas : {mixed_gates, all_open, std::vector<double>{0, 0, 0, 0}}) {
            ModelChunk chunk(testing::whole_model(testing::small_model(variant)));
            testing::fill_parameters(chunk);
            testing::fill_micro_batch(chunk, 0, 0);
            chunk.forward(0, alphas);
            chunk.evaluate(0);
            const testing::NaiveResult naive = testing::naive_forward(chunk, alphas);
            BOOST_CHECK_MESSAGE(std::abs(chunk.loss_sum(0) - naive.loss_sum) < 1e-11,
                                variant.name() << ": loss " << chunk.loss_sum(0) << ", not "
                                               << naive.loss_sum);
            for (std::int64_t i = 0; i < chunk.output(0).num_elements(); ++i)
                BOOST_REQUIRE_SMALL(chunk.output(0).as<double>()[i] -
                                        naive.streams.back()[static_cast<std::size_t>(i)],
                                    1e-11);
            std::vector<double> rms(4);
            chunk.activation_norms(0, rms);
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
    for (const Backend backend : {Backend::reference, Backend::cpu})
        for (const Arrangement arrangement :
             {Arrangement::pre, Arrangement::lns, Arrangement::sandwich}) {
            ModelChunk chunk(testing::whole_model(testing::small_model({arrangement}), backend));
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

BOOST_AUTO_TEST_CASE(delayed_weight_gradients_have_the_same_bits)
{
    for (const Variant& variant : testing::all_variants)
        for (const Backend backend : {Backend::reference, Backend::cpu}) {
            const ModelSpec spec = testing::small_model(variant);
            const Run fused = run_whole(spec, backend, 3, mixed_gates);
            const Run delayed = run_delayed(spec, backend, mixed_gates);
            BOOST_TEST(delayed.losses == fused.losses, boost::test_tools::per_element());
            check_same(delayed.gradients, fused.gradients, variant.name());
        }
}

BOOST_AUTO_TEST_CASE(cut_in_two_the_model_has_the_same_bits)
{
    for (const Variant& variant : testing::all_variants)
        for (const Backend backend : {Backend::reference, Backend::cpu}) {
            const ModelSpec spec = testing::small_model(variant);
            const Run whole = run_whole(spec, backend, 2, mixed_gates);
            for (const std::int64_t cut : {1, 2, 3}) {
                const Run chained = run_cut(spec, backend, cut, 2, mixed_gates);
                BOOST_TEST(chained.losses == whole.losses, boost::test_tools::per_element());
                check_same(chained.gradients, whole.gradients, variant.name());
            }
        }
}

BOOST_AUTO_TEST_CASE(any_number_of_threads_gives_the_same_bits)
{
    const int threads = num_threads();
    for (const Arrangement arrangement : {Arrangement::deepnorm, Arrangement::sandwich}) {
        const ModelSpec spec = testing::wide_model({arrangement});
        set_num_threads(1);
        const Run one = run_whole(spec, Backend::cpu, 1, mixed_gates, {2, 70});
        set_num_threads(3);
        const Run three = run_whole(spec, Backend::cpu, 1, mixed_gates, {2, 70});
        set_num_threads(threads);
        BOOST_TEST(three.losses == one.losses, boost::test_tools::per_element());
        check_same(three.gradients, one.gradients, std::string(name_of(arrangement)));
    }
}

BOOST_AUTO_TEST_CASE(single_precision_follows_double_precision)
{
    for (const Variant& variant : testing::all_variants) {
        const ModelSpec spec = testing::wide_model(variant);
        const Run in_double = run_whole(spec, Backend::reference, 1, mixed_gates, {2, 9});
        const Run in_single = run_whole(spec, Backend::cpu, 1, mixed_gates, {2, 9});
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
    const Run both = run_whole(spec, Backend::reference, 2, mixed_gates);
    for (std::size_t p = 0; p < sum.size(); ++p)
        for (std::size_t i = 0; i < sum[p].size(); ++i)
            BOOST_REQUIRE_SMALL(
                reinterpret_cast<const double*>(both.gradients[p].data())[i] - sum[p][i], 1e-14);
}

BOOST_AUTO_TEST_CASE(evaluation_gives_the_training_loss_and_touches_no_gradient)
{
    for (const Backend backend : {Backend::reference, Backend::cpu}) {
        ModelChunk chunk(testing::whole_model(testing::small_model({Arrangement::pre}), backend));
        testing::fill_parameters(chunk);
        testing::fill_micro_batch(chunk, 0, 0);
        chunk.forward(0, mixed_gates);
        chunk.evaluate(0);
        const double evaluated = chunk.loss_sum(0);
        for (const Parameter& parameter : chunk.parameters())
            BOOST_CHECK(testing::all_zero(parameter.gradient));
        chunk.backward(0, 0, mixed_gates, loss_scale);
        BOOST_CHECK_EQUAL(chunk.loss_sum(0), evaluated);
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
    BOOST_CHECK_THROW(middle.loss_sum(0), InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
