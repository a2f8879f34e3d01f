#include "core/parallel.hpp"
#include "tests/layers/layer_fixture.hpp"

#include <algorithm>

namespace sluice {
namespace {

/// One parameter with memory of its own.
template <class T>
struct Drawn {
    Drawn(const ModelSpec& model, const ParameterSpec& spec, std::uint64_t seed)
        : numbers(static_cast<std::size_t>(spec.shape.num_elements()))
    {
        initialize(model, seed, {.spec = spec, .value = view_of(numbers.data(), spec.shape)});
    }
    double mean() const
    {
        double sum = 0.0;
        for (T number : numbers)
            sum += number;
        return sum / static_cast<double>(numbers.size());
    }
    double std() const
    {
        const double m = mean();
        double sum = 0.0;
        for (T number : numbers)
            sum += (number - m) * (number - m);
        return std::sqrt(sum / static_cast<double>(numbers.size()));
    }
    double largest() const
    {
        double bound = 0.0;
        for (T number : numbers)
            bound = std::max(bound, std::abs(static_cast<double>(number)));
        return bound;
    }
    std::vector<T> numbers;
};

/// Large enough that a deviation's sampling error (1 / sqrt(2 n)) is a quarter percent.
ModelSpec statistics_model(Arrangement arrangement)
{
    ModelSpec spec;
    spec.vocab_size = 500;
    spec.hidden_size = 300;
    spec.intermediate_size = 320;
    spec.num_layers = 3;
    spec.num_heads = 6;
    spec.arrangement = arrangement;
    return spec;
}

/// Of a standard normal conditioned on |x| <= 2: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)).
constexpr double truncated_std = 0.8796256610342398;

BOOST_AUTO_TEST_SUITE(initializer)

BOOST_AUTO_TEST_CASE(every_kind_of_weight_has_its_deviation_and_bound)
{
    for (const Arrangement arrangement : {Arrangement::pre, Arrangement::deepnorm})
        for (const Init init : {Init::standard, Init::ds, Init::scaled, Init::xavier}) {
            ModelSpec model = statistics_model(arrangement);
            model.init = init;
            for (const ParameterSpec& spec : parameters_of(model)) {
                if (spec.init_std == 0.0)
                    continue;
                const Drawn<double> drawn(model, spec, 42);
                const auto count = static_cast<double>(drawn.numbers.size());
                BOOST_CHECK_MESSAGE(std::abs(drawn.std() / (truncated_std * spec.init_std) - 1.0) <
                                        0.012,
                                    spec.name << ": std " << drawn.std());
                BOOST_CHECK_MESSAGE(std::abs(drawn.mean()) < 5.0 * spec.init_std / std::sqrt(count),
                                    spec.name << ": mean " << drawn.mean());
                BOOST_CHECK_LE(drawn.largest(), 2.0 * spec.init_std);
                BOOST_CHECK_GE(drawn.largest(), 1.99 * spec.init_std);
            }
        }
}

BOOST_AUTO_TEST_CASE(the_authors_distribution_is_not_truncated)
{
    ModelSpec model = statistics_model(Arrangement::pre);
    model.init_distribution = InitDistribution::normal;
    const ParameterSpec spec = parameters_of(model)[1];
    const Drawn<double> drawn(model, spec, 42);
    BOOST_CHECK_SMALL(drawn.std() / 0.02 - 1.0, 0.01);
    BOOST_CHECK_GT(drawn.largest(), 0.02 * 3.5);
}

BOOST_AUTO_TEST_CASE(norms_are_constant)
{
    ModelSpec model = statistics_model(Arrangement::lns);
    model.lns = LnsVariant::init;
    for (const ParameterSpec& spec : parameters_of(model)) {
        if (spec.shape.rank() != 1)
            continue;
        const double expected =
            spec.layer < 0 ? 1.0 : 1.0 / std::sqrt(static_cast<double>(spec.layer + 1));
        for (const double number : Drawn<double>(model, spec, 42).numbers)
            BOOST_REQUIRE_EQUAL(number, expected);
    }
}

BOOST_AUTO_TEST_CASE(single_precision_is_double_precision_rounded)
{
    const ModelSpec model = statistics_model(Arrangement::pre);
    const ParameterSpec spec = parameters_of(model)[4];
    const Drawn<double> in_double(model, spec, 9);
    const Drawn<float> in_single(model, spec, 9);
    for (std::size_t i = 0; i < in_single.numbers.size(); ++i)
        BOOST_REQUIRE_EQUAL(in_single.numbers[i], static_cast<float>(in_double.numbers[i]));
}

BOOST_AUTO_TEST_CASE(bf16_is_single_precision_rounded_and_a_master_is_single_precision)
{
    const ModelSpec model = testing::small_model({Arrangement::pre});
    for (const Precision& precision : {bf16_precision, pure_bf16_precision})
        for (const MomentShard shard : {MomentShard{0, 1}, MomentShard{1, 3}}) {
            Arena counted_values, counted_gradients, counted_states;
            const LayerRange range{.begin = 0, .end = 4, .embedding = true, .head = true};
            allocate_parameters(model, range, precision, shard, counted_values, counted_gradients,
                                counted_states);
            Arena values(counted_values.used_bytes(), {}), states(counted_states.used_bytes(), {});
            Arena gradients(counted_gradients.used_bytes(), {});
            for (const Parameter& parameter :
                 allocate_parameters(model, range, precision, shard, values, gradients, states)) {
                initialize(model, 9, parameter);
                const auto in_single = Drawn<float>(model, parameter.spec, 9).numbers;
                for (std::size_t i = 0; i < in_single.size(); ++i)
                    BOOST_REQUIRE_EQUAL(parameter.value.as<BFloat16>()[i].bits,
                                        bfloat16_of(in_single[i]).bits);
                if (!precision.has_master())
                    continue;
                for (std::int64_t i = parameter.owned.begin; i < parameter.owned.end; ++i)
                    BOOST_REQUIRE_EQUAL(parameter.master.as<float>()[i - parameter.owned.begin],
                                        in_single[static_cast<std::size_t>(i)]);
            }
        }
}

BOOST_AUTO_TEST_CASE(weights_depend_on_seed_and_name_but_not_on_range_or_threads)
{
    const ModelSpec model = statistics_model(Arrangement::pre);
    const ParameterSpec of_whole = parameters_of(model)[1 + 9 + 3];
    const ParameterSpec of_range = parameters_of(model, {1, 2})[3];
    BOOST_REQUIRE_EQUAL(of_whole.name, "model.layers.1.self_attn.o_proj.weight");
    const int threads = num_threads();
    set_num_threads(1);
    const auto first = Drawn<double>(model, of_whole, 1).numbers;
    set_num_threads(3);
    BOOST_CHECK(Drawn<double>(model, of_range, 1).numbers == first);
    set_num_threads(threads);

    const auto other_seed = Drawn<double>(model, of_whole, 2).numbers;
    const auto other_name = Drawn<double>(model, parameters_of(model)[1 + 3], 1).numbers;
    double with_seed = 0.0, with_name = 0.0, with_itself = 0.0;
    for (std::size_t i = 0; i < first.size(); ++i) {
        with_seed += first[i] * other_seed[i];
        with_name += first[i] * other_name[i];
        with_itself += first[i] * first[i];
    }
    BOOST_CHECK_SMALL(with_seed / with_itself, 0.02);
    BOOST_CHECK_SMALL(with_name / with_itself, 0.02);
}

BOOST_AUTO_TEST_CASE(element_i_is_number_i_of_the_parameters_stream)
{
    const ModelSpec model = statistics_model(Arrangement::pre);
    const ParameterSpec spec = parameters_of(model)[1];
    const Drawn<double> drawn(model, spec, 17);
    const RandomStream random(17, spec.name);
    for (const std::size_t i : {0u, 1u, 300u, 5000u, 89999u})
        BOOST_CHECK_EQUAL(drawn.numbers[i], 0.02 * random.truncated_normal(i, 2.0));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
