#include "src/train/optimizer.hpp"

#include "core/bfloat16.hpp"
#include "layers/kernels/elementwise.hpp"
#include "pipeline/partition.hpp"
#include "pipeline/schedule/schedule_checker.hpp"

#include <boost/test/unit_test.hpp>
#include <cmath>

namespace {

using namespace sluice;

/// One rank with a whole one-layer model, every weight 0.5, every gradient -3.
struct OneLayerStage {
    explicit OneLayerStage(const Precision& precision = fp64_precision) : precision(precision)
    {
        for (const Parameter& parameter : parameters()) {
            kernels::launch(stage.stream(),
                            kernels::Fill{.to = parameter.owned_weight(), .value = 0.5});
            kernels::launch(stage.stream(), kernels::Fill{.to = parameter.gradient, .value = -3.0});
        }
    }
    Precision precision;
    ModelSpec model{.vocab_size = 7,
                    .hidden_size = 4,
                    .intermediate_size = 6,
                    .num_layers = 1,
                    .num_heads = 2,
                    .max_seq_len = 4};
    Schedule program = with_communication(make_1f1b(1, 1));
    SlotTable slots = check_schedule(program).slots;
    Stage stage{StageOptions{.model = model,
                             .micro_batch = {1, 4},
                             .stream = {.backend = precision == fp64_precision ? Backend::reference
                                                                               : Backend::cpu},
                             .warmup = WarmupSchedule::off,
                             .warmup_steps = 1,
                             .rank = 0,
                             .precision = precision},
                program, slots, partition_by_cost(1, {0}, LayerCosts{})};

    std::span<Parameter> parameters() { return stage.chunks().front().model->parameters(); }
    const Parameter& named(const std::string& part)
    {
        for (const Parameter& parameter : parameters())
            if (parameter.spec.name.find(part) != std::string::npos)
                return parameter;
        throw std::runtime_error(part);
    }
};

constexpr OptimizerConfig config{
    .lr = 0.0, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1, .grad_clip = 1.0};

} // namespace

BOOST_AUTO_TEST_SUITE(optimizer)

BOOST_AUTO_TEST_CASE(clipping_factor_is_one_up_to_the_limit)
{
    BOOST_TEST(clipping_factor(1.0, 0.5) == 1.0);
    BOOST_TEST(clipping_factor(1.0, 1.0) == 1.0);
    BOOST_TEST(clipping_factor(1.0, 4.0) == 0.25);
    BOOST_TEST(clipping_factor(0.0, 4.0) == 1.0); // 0: no clipping
}

BOOST_AUTO_TEST_CASE(first_step_by_hand)
{
    // norm 4 clips to a quarter: g = -0.75. Corrected moments of the first update are g and g^2, so
    // the step is lr sign(g), with lr * decay * w on matrices only.
    OneLayerStage one;
    adamw_step(one.stage, config, 0.01, 4.0, 1);
    for (const Parameter& parameter : one.parameters()) {
        const double decay = parameter.spec.decayed ? 0.01 * 0.1 * 0.5 : 0.0;
        BOOST_TEST_CONTEXT(parameter.spec.name)
        {
            BOOST_TEST(parameter.value.as<double>()[0] == 0.5 - decay + 0.01,
                       boost::test_tools::tolerance(1e-9));
            BOOST_TEST(parameter.first_moment.as<double>()[0] == 0.1 * -0.75,
                       boost::test_tools::tolerance(1e-12));
            BOOST_TEST(parameter.second_moment.as<double>()[0] == 0.05 * 0.75 * 0.75,
                       boost::test_tools::tolerance(1e-12));
        }
    }
}

BOOST_AUTO_TEST_CASE(second_step_corrects_with_its_own_number)
{
    // Gradients -3 (clipped to -0.75), then 0: m = 0.9 * 0.1 g, v = 0.95 * 0.05 g^2, corrected by
    // 1 - 0.9^2 and 1 - 0.95^2.
    OneLayerStage one;
    adamw_step(one.stage, config, 0.0, 4.0, 1); // learning rate 0: only the moments move
    one.stage.zero_gradients();
    adamw_step(one.stage, config, 0.01, 0.0, 2);
    const double g = -0.75;
    const double m = 0.09 * g / (1.0 - 0.81), v = 0.0475 * g * g / (1.0 - 0.9025);
    BOOST_TEST(one.named("input_layernorm").value.as<double>()[0] ==
                   0.5 - 0.01 * m / (std::sqrt(v) + 1e-8),
               boost::test_tools::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(bf16_weights_are_the_masters_rounded)
{
    // A step of 0.0001 is less than bf16 can see next to 0.5: the master keeps what the copy loses.
    OneLayerStage in_bf16(bf16_precision), pure(pure_bf16_precision);
    for (int update = 1; update <= 20; ++update) {
        adamw_step(in_bf16.stage, config, 0.0001, 4.0, update);
        adamw_step(pure.stage, config, 0.0001, 4.0, update);
    }
    for (const Parameter& parameter : in_bf16.parameters())
        for (std::int64_t i = 0; i < parameter.value.num_elements(); ++i) {
            const float master = parameter.master.as<float>()[i];
            BOOST_REQUIRE_CLOSE(master, 0.502F, 0.1F);
            BOOST_REQUIRE(parameter.value.as<BFloat16>()[i].bits == bfloat16_of(master).bits);
        }
    for (const Parameter& parameter : pure.parameters())
        for (const BFloat16 weight : parameter.value.elements<BFloat16>())
            BOOST_REQUIRE(float_of(weight) == 0.5F);
}

BOOST_AUTO_TEST_CASE(norms_and_embedding_are_not_decayed)
{
    OneLayerStage one;
    one.stage.zero_gradients();
    adamw_step(one.stage, config, 0.01, 0.0, 1);
    BOOST_TEST(one.named("embed_tokens").value.as<double>()[0] == 0.5);
    BOOST_TEST(one.named("model.norm").value.as<double>()[0] == 0.5);
    BOOST_TEST(one.named("post_attention_layernorm").value.as<double>()[0] == 0.5);
    BOOST_TEST(one.named("down_proj").value.as<double>()[0] == 0.5 - 0.01 * 0.1 * 0.5);
    BOOST_TEST(one.named("lm_head").value.as<double>()[0] == 0.5 - 0.01 * 0.1 * 0.5);
}

BOOST_AUTO_TEST_SUITE_END()
