// np: 2 4
#include "src/train/update_reduction.hpp"

#include "pipeline/schedule/schedule_checker.hpp"
#include "tests/mpi_session.hpp"
#include "tests/thrown_message.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

using namespace sluice;
using sluice::testing::contains;
using sluice::testing::shared_transport;

namespace {

constexpr std::int32_t num_microbatches = 3; ///< of a replica
constexpr std::int64_t num_tokens = 4;       ///< of a micro-batch
constexpr std::int32_t rare_token = 99;

const ModelSpec model{.vocab_size = 100,
                      .hidden_size = 12,
                      .intermediate_size = 20,
                      .num_layers = 4,
                      .num_heads = 2,
                      .max_seq_len = num_tokens};

/// Other tokens in every micro-batch; `rare_token` in one of them only.
class Tokens : public TokenSource {
public:
    Tokens(int replica, std::int32_t rare_in) : replica_(replica), rare_in_(rare_in) {}
    void inputs(std::int32_t microbatch, const TensorView& into) override
    {
        for (std::int64_t i = 0; i < num_tokens; ++i)
            into.as<std::int32_t>()[i] =
                static_cast<std::int32_t>(7 * replica_ + 5 * microbatch + i) % rare_token;
        if (microbatch == rare_in_)
            into.as<std::int32_t>()[0] = rare_token;
    }
    void targets(std::int32_t microbatch, const TensorView& into) override
    {
        inputs(microbatch + 1, into);
        if (microbatch + 1 == rare_in_)
            into.as<std::int32_t>()[0] = 0; // is read only
    }

private:
    int replica_;
    std::int32_t rare_in_;
};

/// Replicas of two stages on all ranks.
struct Run {
    const Replicas replicas{shared_transport(), shared_transport().num_ranks() / 2};
    const Schedule program = with_communication(make_1f1b(2, num_microbatches));
    const ScheduleReport report = check_schedule(program);
    const std::vector<LayerRange> partition{
        {.begin = 0, .end = 2, .embedding = true, .head = false},
        {.begin = 2, .end = 4, .embedding = false, .head = true}};
    Stage stage{StageOptions{.model = model,
                             .micro_batch = {1, num_tokens},
                             .stream = {.backend = Backend::cpu},
                             .warmup = WarmupSchedule::off,
                             .warmup_steps = 1,
                             .rank = replicas.pipeline().rank(),
                             .moments = {replicas.index(), replicas.count()}},
                program, report.slots, partition};
    Executor executor{program, report.slots, stage, replicas.pipeline(), VerifyTransfers::yes};
    GradientExchange exchange{stage, replicas.peers(), VerifyTransfers::yes};
    UpdateReduction reduction{model, program, partition, replicas, stage, VerifyTransfers::yes};
    std::int64_t tokens_per_update = replicas.count() * num_microbatches * num_tokens;

    Run()
    {
        for (StageChunk& chunk : stage.chunks())
            chunk.model->initialize(1);
        if (exchange.active())
            executor.exchange_through(exchange);
    }
    void compute(std::int32_t rare_in = -1)
    {
        stage.zero_gradients();
        Tokens tokens(replicas.index(), rare_in);
        executor.run_update(tokens, 1.0 / static_cast<double>(tokens_per_update));
        exchange.finish();
    }
    UpdateOutcome outcome() { return {.stage = stage, .executor = executor, .exchange = exchange}; }
    UpdateSummary reduce() { return reduction.reduce(outcome(), tokens_per_update); }
    std::string refusal(const UpdateOutcome& of)
    {
        try {
            reduction.reduce(of, tokens_per_update);
        } catch (const UpdateRefused& refused) {
            return refused.what();
        }
        return "it was accepted";
    }
    bool is_last() const { return replicas.world().rank() == replicas.world().num_ranks() - 1; }
    const Parameter& first_parameter() { return stage.chunks().front().model->parameters()[0]; }
    /// The names that messages give a rank of this run.
    std::string name_of(int replica, int rank) const
    {
        const std::string name = "rank " + std::to_string(2 * replica + rank);
        return replicas.count() == 1 ? name : "replica " + std::to_string(replica) + ", " + name;
    }
};

} // namespace

BOOST_AUTO_TEST_SUITE(update_reduction)

BOOST_AUTO_TEST_CASE(loss_and_norm_are_those_of_all_ranks)
{
    Run run;
    run.compute();
    double sums[2] = {0.0, 0.0};
    for (const double loss : run.executor.losses())
        sums[0] += loss;
    for (const Parameter& parameter : run.stage.chunks().front().model->parameters())
        for (std::int64_t i = parameter.owned.begin; i < parameter.owned.end; ++i)
            sums[1] += std::pow(double{parameter.gradient.as<float>()[i]}, 2.0);
    shared_transport().sum(sums);
    const UpdateSummary summary = run.reduce();
    const double tokens = static_cast<double>(run.tokens_per_update);
    BOOST_TEST(summary.loss == sums[0] / tokens, boost::test_tools::tolerance(1e-12));
    BOOST_TEST(summary.grad_norm == std::sqrt(sums[1]), boost::test_tools::tolerance(1e-6));
    BOOST_TEST(summary.compute_seconds.size() ==
               static_cast<std::size_t>(shared_transport().num_ranks()));
    for (const double seconds : summary.compute_seconds)
        BOOST_TEST(seconds > 0.0);
}

BOOST_AUTO_TEST_CASE(what_one_rank_asks_for_all_hear)
{
    Run run;
    run.compute();
    BOOST_TEST(!run.reduce().stop_requested);
    BOOST_TEST(!run.reduce().saving);
    UpdateOutcome outcome = run.outcome();
    outcome.stop_here = run.is_last();
    BOOST_TEST(run.reduction.reduce(outcome, run.tokens_per_update).stop_requested);
    outcome.stop_here = false;
    outcome.saving_here = run.replicas.world().rank() == 0;
    const UpdateSummary summary = run.reduction.reduce(outcome, run.tokens_per_update);
    BOOST_TEST(summary.saving);
    BOOST_TEST(!summary.stop_requested);
}

BOOST_AUTO_TEST_CASE(a_loss_that_is_not_finite_names_its_micro_batch)
{
    Run run;
    if (run.replicas.pipeline().rank() == 0)
        run.first_parameter().value.as<float>()[rare_token * model.hidden_size] =
            std::numeric_limits<float>::quiet_NaN();
    const int last = run.replicas.count() - 1;
    run.compute(run.replicas.index() == last ? 1 : -1);
    const int total = run.replicas.count() * num_microbatches;
    const std::string message = run.refusal(run.outcome());
    BOOST_TEST(message == "the loss is not finite (nan), in micro-batch " +
                              std::to_string(last * num_microbatches + 1) + " of " +
                              std::to_string(total) + " (counted from 0); no weight was changed");
}

BOOST_AUTO_TEST_CASE(losses_that_are_not_finite_are_counted)
{
    Run run;
    if (run.replicas.pipeline().rank() == 1) // its head
        for (const Parameter& parameter : run.stage.chunks().front().model->parameters())
            parameter.value.as<float>()[0] = std::numeric_limits<float>::quiet_NaN();
    run.compute();
    const int total = run.replicas.count() * num_microbatches;
    BOOST_TEST(run.refusal(run.outcome()) == "the loss is not finite (nan), in all " +
                                                 std::to_string(total) +
                                                 " micro-batches; no weight was changed");
}

BOOST_AUTO_TEST_CASE(a_bad_gradient_is_named_with_its_stage)
{
    Run run;
    run.compute();
    const auto parameters = run.stage.chunks().front().model->parameters();
    const auto owned = std::ranges::find_if(
        parameters, [](const Parameter& parameter) { return !parameter.owned.empty(); });
    if (run.is_last())
        owned->gradient.as<float>()[owned->owned.begin] = std::numeric_limits<float>::infinity();
    const std::string message = run.refusal(run.outcome());
    BOOST_TEST(contains(message, "the gradient of model.layers.2."), message);
    BOOST_TEST(contains(message, run.name_of(run.replicas.count() - 1, 1) + ", stage 1, layer 2"),
               message);
}

BOOST_AUTO_TEST_CASE(gates_out_of_step_are_refused)
{
    Run run;
    run.compute();
    UpdateOutcome outcome = run.outcome();
    outcome.completed_updates = 5;
    BOOST_TEST(run.refusal(outcome) == "gate counter out of step: " + run.name_of(0, 0) +
                                           ", stage 0, layer 0 stands at 0, the run at 5 completed "
                                           "updates; no weight was changed");
}

BOOST_AUTO_TEST_CASE(a_message_that_changed_is_refused)
{
    for (const bool gradient : {false, true}) {
        Run run;
        const int last = run.replicas.count() - 1, receiver = gradient ? 0 : 1;
        if (run.replicas.index() == last && run.replicas.pipeline().rank() == receiver)
            run.executor.inject({.chunk = receiver, .microbatch = 1, .gradient = gradient});
        run.compute();
        const std::string message = run.refusal(run.outcome());
        BOOST_TEST(contains(message, gradient ? "a gradient changed" : "an activation changed"),
                   message);
        BOOST_TEST(contains(message, "to stage " + std::to_string(receiver) + " (" +
                                         run.name_of(last, receiver) + ")"),
                   message);
    }
}

/// On two ranks there is one replica, with nobody to compare with.
boost::test_tools::assertion_result has_replicas(boost::unit_test::test_unit_id)
{
    return shared_transport().num_ranks() > 2;
}

BOOST_AUTO_TEST_CASE(replicas_that_differ_are_refused,
                     *boost::unit_test::precondition(has_replicas))
{
    Run run;
    run.compute();
    if (run.is_last())
        run.first_parameter().value.as<float>()[0] += 1.0f;
    BOOST_TEST(contains(run.refusal(run.outcome()),
                        "the weights of stage 1 differ between replica 0 and replica 1, rank 3"));
}

BOOST_AUTO_TEST_CASE(a_gradient_that_does_not_repeat_is_refused)
{
    Run run;
    run.compute();
    UpdateOutcome outcome = run.outcome();
    if (run.is_last())
        outcome.unrepeated_parameter = run.first_parameter().spec.index;
    const std::string message = run.refusal(outcome);
    BOOST_TEST(contains(message, "came out otherwise when it was computed again"), message);
    BOOST_TEST(contains(message, run.name_of(run.replicas.count() - 1, 1)), message);
}

BOOST_AUTO_TEST_SUITE_END()
