// One rank with a whole model. What several ranks do is in tests/src/train and tests/end_to_end.
#include "pipeline/executor.hpp"

#include "pipeline/schedule/schedule_checker.hpp"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace sluice;

namespace {

constexpr std::int32_t num_microbatches = 3;
constexpr std::int64_t num_tokens = 4;

const ModelSpec model{.vocab_size = 32,
                      .hidden_size = 8,
                      .intermediate_size = 12,
                      .num_layers = 2,
                      .num_heads = 2,
                      .max_seq_len = num_tokens};

class Tokens : public TokenSource {
public:
    explicit Tokens(Transport& transport) : transport_(transport) {}
    void inputs(std::int32_t microbatch, const TensorView& into) override
    {
        note_reading();
        if (microbatch == broken_)
            throw std::runtime_error("the token file is gone");
        for (std::int64_t i = 0; i < num_tokens; ++i)
            into.as<std::int32_t>()[i] = static_cast<std::int32_t>(5 * microbatch + i);
    }
    void targets(std::int32_t microbatch, const TensorView& into) override
    {
        note_reading();
        for (std::int64_t i = 0; i < num_tokens; ++i)
            into.as<std::int32_t>()[i] = static_cast<std::int32_t>(5 * microbatch + i + 1);
    }
    void break_at(std::int32_t microbatch) { broken_ = microbatch; }
    void take(std::chrono::milliseconds each) { each_ = each; }
    int times_read() const { return times_read_; }
    int times_at_files() const { return times_at_files_; }

private:
    void note_reading()
    {
        ++times_read_;
        times_at_files_ += transport_.activity()->is_at_files() ? 1 : 0;
        std::this_thread::sleep_for(each_);
    }

    Transport& transport_;
    std::int32_t broken_ = -1;
    std::chrono::milliseconds each_{0};
    int times_read_ = 0, times_at_files_ = 0;
};

struct Run {
    RankActivity activity;
    std::unique_ptr<Transport> transport = make_in_process_transport();
    const Schedule training = with_communication(make_1f1b(1, num_microbatches));
    const Schedule forwards = make_forward_only({0}, 1, num_microbatches);
    const ScheduleReport report = check_schedule(training);
    Stage stage{StageOptions{.model = model,
                             .micro_batch = {1, num_tokens},
                             .stream = {.backend = Backend::cpu},
                             .warmup = WarmupSchedule::off,
                             .warmup_steps = 1},
                training,
                report.slots,
                {{.begin = 0, .end = 2, .embedding = true, .head = true}}};
    Tokens tokens{*transport};
    Executor executor{training, report.slots, stage, *transport, VerifyTransfers::yes};

    Run()
    {
        transport->publish_into(&activity);
        stage.chunks().front().model->initialize(1);
        stage.zero_gradients();
    }
    ~Run() { transport->publish_into(nullptr); }
};

} // namespace

BOOST_AUTO_TEST_SUITE(executor)

// Who watches gives a file system more time than a rank that computes.
BOOST_AUTO_TEST_CASE(reading_tokens_counts_as_being_at_files)
{
    Run run;
    run.executor.run_update(run.tokens, 1.0);
    BOOST_TEST(run.tokens.times_read() == 2 * num_microbatches);
    BOOST_TEST(run.tokens.times_at_files() == 2 * num_microbatches);
    BOOST_TEST(!run.activity.is_at_files());

    const SlotTable slots = forward_only_slots(run.forwards);
    Executor evaluation(run.forwards, slots, run.stage, *run.transport, VerifyTransfers::no);
    evaluation.run_evaluation(run.tokens);
    BOOST_TEST(run.tokens.times_at_files() == 4 * num_microbatches);
}

BOOST_AUTO_TEST_CASE(an_evaluation_has_the_losses_of_the_updates_forward_pass)
{
    Run run;
    run.executor.run_update(run.tokens, 1.0);
    const SlotTable slots = forward_only_slots(run.forwards);
    Executor evaluation(run.forwards, slots, run.stage, *run.transport, VerifyTransfers::no);
    const double sum = evaluation.run_evaluation(run.tokens);
    double expected = 0.0;
    for (std::size_t m = 0; m < num_microbatches; ++m) {
        BOOST_TEST(evaluation.losses()[m] == run.executor.losses()[m]);
        BOOST_TEST(evaluation.losses()[m] > 1.0);
        expected += run.executor.losses()[m];
    }
    BOOST_TEST(sum == expected);
}

BOOST_AUTO_TEST_CASE(where_it_broke_is_said_in_words)
{
    Run run;
    run.tokens.break_at(1);
    BOOST_CHECK_THROW(run.executor.run_update(run.tokens, 1.0), std::runtime_error);
    BOOST_TEST(run.executor.where() == "rank 0, stage 0, micro-batch 1, action 0F1");
}

BOOST_AUTO_TEST_CASE(reading_is_no_computing)
{
    Run run;
    run.tokens.take(std::chrono::milliseconds(20));
    const auto begin = std::chrono::steady_clock::now();
    run.executor.run_update(run.tokens, 1.0);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    BOOST_TEST(run.executor.compute_seconds() > 0.0);
    BOOST_TEST(run.executor.compute_seconds() <= taken.count() - 2 * num_microbatches * 0.02);
}

BOOST_AUTO_TEST_SUITE_END()
