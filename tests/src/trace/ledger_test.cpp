#include "src/trace/ledger.hpp"

#include "core/error.hpp"
#include "src/trace/ledger_file.hpp"
#include "src/trace/message_times.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <random>

using namespace sluice;

namespace {

/// Writes timelines as ranks would record them.
class Scribe {
public:
    explicit Scribe(std::int64_t begin_ns) : now_(begin_ns) {}
    void begin(std::int64_t update)
    {
        put(-1, Activity::other, 0);
        timeline_.updates.push_back({update, timeline_.spans.size() - 1, 0});
    }
    /// An activity that lasts until `end_ns`.
    void until(std::int64_t end_ns, std::int32_t action, Activity activity)
    {
        put(action, activity, std::max<std::int64_t>(0, end_ns - now_));
    }
    void put(std::int32_t action, Activity activity, std::int64_t length_ns)
    {
        timeline_.spans.push_back({now_, action, activity});
        now_ += length_ns;
    }
    void end()
    {
        put(-1, Activity::other, 0);
        timeline_.updates.back().end_span = timeline_.spans.size() - 1;
        put(-1, Activity::other, 0);
    }
    RankTimeline take() { return std::move(timeline_); }

private:
    std::int64_t now_;
    RankTimeline timeline_;
};

constexpr std::int64_t ms = 1'000'000;

/// Executes `program` in virtual time as the executor would, stamping as it does.
std::vector<RankTimeline> execute(const Schedule& program, const std::vector<ChunkCosts>& costs,
                                  double reduction_seconds,
                                  const std::vector<std::int64_t>& updates)
{
    const auto ns = [](double seconds) { return std::llround(seconds * 1e9); };
    const Simulation simulation = simulate(program, costs);
    const std::int64_t length = ns(simulation.total + reduction_seconds) + 3 * ms;
    std::vector<RankTimeline> timelines;
    for (std::size_t rank = 0; rank < program.actions.size(); ++rank) {
        Scribe scribe(5 * ms);
        for (std::size_t u = 0; u < updates.size(); ++u) {
            const std::int64_t start = 5 * ms + static_cast<std::int64_t>(u) * length;
            scribe.begin(updates[u]);
            for (std::size_t i = 0; i < program.actions[rank].size(); ++i) {
                const Action& action = program.actions[rank][i];
                const auto position = static_cast<std::int32_t>(i);
                const ActionTime time = simulation.times[rank][i];
                if (action.kind == ActionKind::optimizer_step)
                    continue;
                if (action.kind > ActionKind::backward_weight) {
                    scribe.put(position, Activity::messages, 0);
                    continue;
                }
                scribe.until(start + ns(time.start), position, Activity::waiting_for_input);
                scribe.until(start + ns(time.end), position, Activity::compute);
            }
            scribe.until(start + ns(simulation.total + reduction_seconds), -1, Activity::reduction);
            scribe.put(-1, Activity::optimizer, 3 * ms);
            scribe.end();
        }
        timelines.push_back(scribe.take());
    }
    return timelines;
}

std::int64_t sum_of_parts(const UpdateSplit& split)
{
    std::int64_t sum = 0;
    for (const SplitPart& part : std::span(split_parts).subspan(1))
        sum += split.*part.nanoseconds;
    return sum;
}

} // namespace

BOOST_AUTO_TEST_SUITE(ledger)

BOOST_AUTO_TEST_CASE(a_run_without_surprises_has_no_jitter)
{
    const Schedule program = with_communication(make_1f1b(3, 5));
    const std::vector<ChunkCosts> costs{
        {0.010, 0.008, 0.008, 0.001}, {0.012, 0.009, 0.009, 0.002}, {0.006, 0.015, 0.015, 0.0}};
    const auto timelines = execute(program, costs, 0.002, {100, 101});
    const Ledger ledger = make_ledger(program, timelines);
    BOOST_REQUIRE(ledger.updates.size() == 2u);
    BOOST_TEST(ledger.updates[1].update == 101);
    BOOST_TEST(ledger.barrier_seconds == 0.002, boost::test_tools::tolerance(1e-6));
    for (std::size_t c = 0; c < costs.size(); ++c) {
        BOOST_TEST(*ledger.chunks[c].forward == costs[c].forward,
                   boost::test_tools::tolerance(1e-6));
        BOOST_TEST(*ledger.chunks[c].backward == costs[c].backward_input + costs[c].backward_weight,
                   boost::test_tools::tolerance(1e-6));
        BOOST_TEST(!ledger.chunks[c].backward_weight.has_value());
    }
    BOOST_TEST(*ledger.chunks[0].transfer == 0.001, boost::test_tools::tolerance(1e-3));
    BOOST_TEST(*ledger.chunks[1].transfer == 0.002, boost::test_tools::tolerance(1e-3));
    BOOST_TEST(!ledger.chunks[2].transfer.has_value());
    for (const TracedUpdate& update : ledger.updates)
        for (const UpdateSplit& split : update.ranks) {
            BOOST_TEST(sum_of_parts(split) == split.update);
            BOOST_TEST(std::abs(split.jitter) < 1000);
            BOOST_TEST(split.barrier == 2 * ms);
            BOOST_TEST(split.optimizer == 3 * ms);
            BOOST_TEST(split.fill_drain > 0);
            BOOST_TEST(split.exposed_transfer > 0);
        }
    BOOST_TEST(ledger.updates[0].ranks[0].compute == 5 * 26 * ms);
}

BOOST_AUTO_TEST_CASE(parts_add_up_whatever_happened)
{
    std::mt19937 random(11);
    std::uniform_int_distribution<std::int64_t> length(0, 5'000'000);
    const Schedule program = with_communication(make_1f1b(2, 3));
    for (int repeat = 0; repeat < 50; ++repeat) {
        std::vector<RankTimeline> timelines;
        for (std::size_t rank = 0; rank < 2; ++rank) {
            Scribe scribe(length(random));
            for (const std::int64_t update : {1, 2, 3}) {
                scribe.begin(update);
                for (std::size_t i = 0; i + 1 < program.actions[rank].size(); ++i)
                    for (const Activity activity :
                         {Activity::messages, Activity::waiting_for_buffer, Activity::data,
                          Activity::waiting_for_input, Activity::compute, Activity::messages})
                        if (activity != Activity::compute ||
                            computes(program.actions[rank][i].kind))
                            scribe.put(static_cast<std::int32_t>(i), activity, length(random));
                for (const Activity activity :
                     {Activity::waiting_for_sends, Activity::optimizer, Activity::reduction,
                      Activity::optimizer, Activity::other})
                    scribe.put(-1, activity, length(random));
                scribe.end();
                scribe.put(-1, Activity::evaluation, length(random)); // not the update's
            }
            timelines.push_back(scribe.take());
        }
        const Ledger ledger = make_ledger(program, timelines);
        for (const TracedUpdate& update : ledger.updates)
            for (std::size_t rank = 0; rank < 2; ++rank) {
                const UpdateSplit& split = update.ranks[rank];
                const RecordedUpdate& recorded =
                    timelines[rank].updates[static_cast<std::size_t>(update.update - 1)];
                BOOST_TEST(split.update == timelines[rank].spans[recorded.end_span].begin_ns -
                                               timelines[rank].spans[recorded.first_span].begin_ns);
                BOOST_TEST(sum_of_parts(split) == split.update);
            }
        for (const UpdateSplit& split : ledger.mean())
            BOOST_TEST(sum_of_parts(split) == split.update);
    }
}

BOOST_AUTO_TEST_CASE(one_late_micro_batch_is_jitter)
{
    const Schedule program = with_communication(make_1f1b(2, 8));
    const std::vector<ChunkCosts> costs{{0.01, 0.01, 0.01, 0.0}, {0.01, 0.01, 0.01, 0.0}};
    auto timelines = execute(program, costs, 0.001, {1});
    const Ledger steady = make_ledger(program, timelines);
    // Rank 0's last backward takes 7 ms longer, and rank 1 waits for it in the reduction.
    for (RankTimeline& timeline : timelines)
        for (std::size_t i = 0; i < timeline.spans.size(); ++i)
            if (i > 0 && timeline.spans[i - 1].activity == Activity::reduction)
                for (std::size_t k = i; k < timeline.spans.size(); ++k)
                    timeline.spans[k].begin_ns += 7 * ms;
    for (std::size_t i = 0; i < timelines[0].spans.size(); ++i)
        if (timelines[0].spans[i].activity == Activity::reduction)
            timelines[0].spans[i].begin_ns += 7 * ms;
    const Ledger late = make_ledger(program, timelines);
    BOOST_TEST(late.updates[0].ranks[1].jitter - steady.updates[0].ranks[1].jitter == 7 * ms);
    BOOST_TEST(late.updates[0].ranks[0].compute - steady.updates[0].ranks[0].compute == 7 * ms);
    BOOST_TEST(late.updates[0].ranks[0].fill_drain == steady.updates[0].ranks[0].fill_drain);
}

BOOST_AUTO_TEST_CASE(every_message_is_found_with_its_times)
{
    const Schedule program = with_communication(make_1f1b(3, 4));
    const std::vector<ChunkCosts> costs(3, {0.01, 0.01, 0.01, 0.003});
    const auto timelines = execute(program, costs, 0.001, {1});
    const auto messages = message_times(program, timelines, 0);
    BOOST_TEST(messages.size() == 2u * 2u * 4u);
    for (const MessageTimes& message : messages) {
        BOOST_TEST(std::abs(message.from_rank - message.to_rank) == 1);
        BOOST_TEST(message.sent_ns <= message.arrived_ns);
        BOOST_TEST(message.arrived_ns == message.used_ns);
        if (message.was_awaited())
            BOOST_TEST(message.flight_seconds() == 0.003, boost::test_tools::tolerance(1e-6));
    }
}

BOOST_AUTO_TEST_CASE(the_table_fits_behind_the_log_prefix)
{
    const Schedule program = with_communication(make_1f1b(3, 5));
    for (const double slow : {0.0001, 0.1, 30.0}) {
        const std::vector<ChunkCosts> costs{
            {slow, slow, slow, 0.0}, {slow, 3 * slow, slow, 0.0}, {slow, slow, slow, 0.0}};
        const auto timelines = execute(program, costs, 0.00001, {1});
        const auto lines = table_of(make_ledger(program, timelines));
        BOOST_TEST(lines.size() == 5u);
        for (const std::string& line : lines)
            BOOST_TEST(line.size() <= 71u, line);
    }
}

BOOST_AUTO_TEST_SUITE_END()
