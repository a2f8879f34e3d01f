#include "pipeline/schedule/schedule_checker.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <string>

using namespace sluice;

namespace {

/// Whether some problem has all of the words in it.
bool tells(const ScheduleReport& report, std::initializer_list<const char*> words)
{
    return std::any_of(report.problems.begin(), report.problems.end(), [&](const auto& problem) {
        return std::all_of(words.begin(), words.end(), [&](const char* word) {
            return problem.find(word) != std::string::npos;
        });
    });
}

ScheduleReport check_text(const std::string& actions, const std::string& sizes,
                          MatchingRule rule = MatchingRule::by_tag)
{
    return check_schedule(parse_schedule(sizes + "\n" + actions, "test"), rule);
}

void remove(Schedule& schedule, int rank, const Action& action)
{
    std::erase(schedule.actions[static_cast<std::size_t>(rank)], action);
}

std::string all(const ScheduleReport& report)
{
    std::string text;
    for (const std::string& problem : report.problems)
        text += problem + "\n";
    return text;
}

} // namespace

BOOST_AUTO_TEST_SUITE(schedule_checker)

BOOST_AUTO_TEST_CASE(every_made_schedule_is_good)
{
    int num_checked = 0;
    for (std::int32_t ranks : {1, 2, 3, 4, 5, 8, 13})
        for (std::int32_t microbatches : {1, 2, 3, 4, 7, 8, 16, 33})
            for (std::int32_t extra : {0, 1, 2, 3, 7, 20})
                for (std::int32_t ahead : {-1, 0, 1, 2, 5, 100})
                    for (const bool gpipe : {false, true}) {
                        if (gpipe && extra > 0)
                            continue;
                        Schedule schedule = gpipe ? make_gpipe(ranks, microbatches)
                                                  : make_1f1b(ranks, microbatches, extra);
                        if (ahead >= 0)
                            schedule = with_communication(schedule, ahead);
                        for (const auto rule : {MatchingRule::by_tag, MatchingRule::in_order}) {
                            const ScheduleReport report = check_schedule(schedule, rule);
                            BOOST_REQUIRE_MESSAGE(report.good(), all(report));
                            ++num_checked;
                        }
                    }
    BOOST_TEST(num_checked > 4000);
}

BOOST_AUTO_TEST_CASE(peaks_are_the_known_ones)
{
    for (std::int32_t ranks : {1, 2, 3, 5, 8})
        for (std::int32_t microbatches : {1, 2, 3, 8, 21})
            for (std::int32_t ahead : {-1, 0, 1, 7}) {
                const auto lower = [&](const Schedule& schedule) {
                    return ahead < 0 ? schedule : with_communication(schedule, ahead);
                };
                const auto plain = check_schedule(lower(make_1f1b(ranks, microbatches)));
                const auto deep = check_schedule(lower(make_1f1b(ranks, microbatches, 2)));
                const auto gpipe = check_schedule(lower(make_gpipe(ranks, microbatches)));
                for (std::int32_t i = 0; i < ranks; ++i) {
                    BOOST_TEST(plain.slots.num_activation_slots[i] ==
                               std::min(microbatches, ranks - i));
                    BOOST_TEST(deep.slots.num_activation_slots[i] ==
                               std::min(microbatches, 3 * (ranks - 1 - i) + 1));
                    BOOST_TEST(gpipe.slots.num_activation_slots[i] == microbatches);
                }
            }
}

// A receive posted early takes a place in the inbox, except on rank 0, which receives no
// activation.
BOOST_AUTO_TEST_CASE(receives_posted_early_take_the_inbox)
{
    for (std::int32_t ranks : {2, 3, 8}) {
        const std::int32_t microbatches = 20;
        const auto none = check_schedule(with_communication(make_1f1b(ranks, microbatches), 0));
        const auto one = check_schedule(with_communication(make_1f1b(ranks, microbatches), 1));
        const auto five = check_schedule(with_communication(make_1f1b(ranks, microbatches), 5));
        for (std::int32_t i = 0; i < ranks; ++i) {
            // While one forward runs, 5 actions ahead hold the receives of 3, or, in the warm-up of
            // a rank that begins with several forwards, of more.
            BOOST_TEST(none.slots.num_inbox_slots[i] == (i > 0 ? 1 : 0));
            BOOST_TEST(one.slots.num_inbox_slots[i] == (i == 0 ? 0 : i + 1 < ranks ? 2 : 1));
            BOOST_TEST(five.slots.num_inbox_slots[i] >= (i > 0 ? 3 : 0));
            BOOST_TEST(five.slots.num_inbox_slots[i] <= (i > 0 ? 6 : 0));
            BOOST_TEST(five.slots.num_activation_slots[i] == ranks - i);
        }
        // Gradients come in a row at the end: one in use, one posted.
        BOOST_TEST(one.slots.num_gradient_slots[0] == 2);
        BOOST_TEST(one.slots.num_gradient_slots[ranks - 1] >= 1);
        BOOST_TEST(one.slots.num_gradient_slots[ranks - 1] <= 2);
    }
}

// The last rank runs ahead of a deep warm-up and must keep gradients until they are asked for.
BOOST_AUTO_TEST_CASE(deep_warmup_takes_gradient_slots)
{
    const auto report = check_schedule(with_communication(make_1f1b(2, 20, 9)));
    BOOST_TEST(report.slots.num_gradient_slots[1] >= 3);
    BOOST_TEST(report.slots.num_gradient_slots[1] <= 10);
}

BOOST_AUTO_TEST_CASE(split_backward_keeps_slots_until_the_weight_gradient)
{
    const auto report =
        check_text("0: 0F0 0I0 0F1 0I1 0F2 0I2 0W0 0W1 0W2 O\n", "ranks 1 chunks 1 microbatches 3");
    BOOST_REQUIRE_MESSAGE(report.good(), all(report));
    BOOST_TEST(report.slots.num_activation_slots[0] == 3);
    BOOST_TEST(report.slots.num_gradient_slots[0] == 3);
}

// Chunk 1 leaves its input gradients for chunk 0 of the same rank: held until those are copied,
// while chunk 0 takes its own.
BOOST_AUTO_TEST_CASE(gradients_within_a_rank_stay_until_they_are_copied)
{
    const auto report =
        check_text("0: 0F0 0F1 1F0 1F1 1B0 1B1 0B0 0B1 O\n", "ranks 1 chunks 2 microbatches 2");
    BOOST_REQUIRE_MESSAGE(report.good(), all(report));
    BOOST_TEST(report.slots.num_gradient_slots[0] == 3);
    const auto in_turn =
        check_text("0: 0F0 0F1 1F0 1F1 1B0 0B0 1B1 0B1 O\n", "ranks 1 chunks 2 microbatches 2");
    BOOST_TEST(in_turn.slots.num_gradient_slots[0] == 2);
}

// The chunks of a rank share its slots: what one gives back another takes.
BOOST_AUTO_TEST_CASE(chunks_of_a_rank_share_slots)
{
    const auto report =
        check_text("0: 0F0 1F0 1B0 0B0 0F1 1F1 1B1 0B1 O\n", "ranks 1 chunks 2 microbatches 2");
    BOOST_REQUIRE_MESSAGE(report.good(), all(report));
    BOOST_TEST(report.slots.num_activation_slots[0] == 2);
    BOOST_TEST(report.slots.activation(0, 0) != report.slots.activation(1, 0));
    BOOST_TEST(report.slots.inbox(1, 0) == -1);
}

BOOST_AUTO_TEST_CASE(several_chunks_per_rank)
{
    for (const char* v : {"0: 0F0 0F1 3F0 3B0 0B0 3F1 3B1 0B1 O\n"
                          "1: 1F0 2F0 1F1 2F1 2B0 1B0 2B1 1B1 O\n",
                          "0: 0F0 0F1 3F0 3I0 0I0 3F1 3I1 0I1 3W0 0W0 3W1 0W1 O\n"
                          "1: 1F0 2F0 1F1 2F1 2I0 1I0 2I1 1I1 2W0 1W0 2W1 1W1 O\n"}) {
        const Schedule schedule =
            parse_schedule(std::string("ranks 2 chunks 4 microbatches 2\n") + v, "v");
        for (const std::int32_t ahead : {0, 1, 3}) {
            const auto report = check_schedule(with_communication(schedule, ahead));
            BOOST_TEST(report.good(), all(report));
        }
        BOOST_TEST(check_schedule(schedule).good());
    }
}

BOOST_AUTO_TEST_CASE(missing_actions_are_named)
{
    const Schedule good = with_communication(make_1f1b(3, 4));
    BOOST_REQUIRE(check_schedule(good).good());
    for (const auto& [rank, action] :
         std::initializer_list<std::pair<int, Action>>{{1, {ActionKind::forward, 1, 2}},
                                                       {0, {ActionKind::backward, 0, 3}},
                                                       {1, {ActionKind::receive_activation, 1, 3}},
                                                       {2, {ActionKind::send_gradient, 2, 0}},
                                                       {1, {ActionKind::send_activation, 1, 1}},
                                                       {1, {ActionKind::receive_gradient, 1, 1}}}) {
        Schedule broken = good;
        remove(broken, rank, action);
        Action named = action;
        if (named.kind == ActionKind::backward)
            named.kind = ActionKind::backward_input;
        const auto report = check_schedule(broken);
        const std::string on_rank = "rank " + std::to_string(rank);
        BOOST_TEST(tells(report, {on_rank.c_str(), (text_of(named) + " is missing").c_str()}),
                   text_of(action) << ":\n"
                                   << all(report));
        BOOST_TEST(report.slots.num_activation_slots.empty());
    }
    Schedule stepless = good;
    stepless.actions[1].pop_back();
    BOOST_TEST(tells(check_schedule(stepless), {"rank 1", "optimizer step (O) is missing"}));
}

BOOST_AUTO_TEST_CASE(every_single_removal_is_found)
{
    const Schedule good = with_communication(make_1f1b(3, 5, 1), 2);
    for (std::size_t rank = 0; rank < good.actions.size(); ++rank)
        for (std::size_t position = 0; position < good.actions[rank].size(); ++position) {
            Schedule broken = good;
            broken.actions[rank].erase(broken.actions[rank].begin() +
                                       static_cast<std::ptrdiff_t>(position));
            BOOST_TEST(!check_schedule(broken).good(), text_of(good.actions[rank][position]));
            Schedule twice = good;
            twice.actions[rank].insert(twice.actions[rank].begin(), good.actions[rank][position]);
            BOOST_TEST(!check_schedule(twice).good(), text_of(good.actions[rank][position]));
        }
}

BOOST_AUTO_TEST_CASE(wrong_order_is_named_with_its_position)
{
    const char* one = "ranks 1 chunks 1 microbatches 2";
    BOOST_TEST(tells(check_text("0: 0F1 0F0 0B0 0B1 O", one),
                     {"rank 0, position 0 (0F1)", "micro-batch 0 is due", "forwards"}));
    BOOST_TEST(tells(check_text("0: 0F0 0F1 0B1 0B0 O", one),
                     {"rank 0, position 2 (0B1)", "input gradients"}));
    BOOST_TEST(tells(check_text("0: 0F0 0F1 0I0 0I1 0W1 0W0 O", one),
                     {"rank 0, position 4 (0W1)", "weight gradients"}));
    BOOST_TEST(tells(check_text("0: 0B0 0F0 0F1 0B1 O", one),
                     {"rank 0, position 0 (0B0)", "no 0F0 before it"}));
    BOOST_TEST(tells(check_text("0: 0F0 0W0 0I0 0F1 0B1 O", one),
                     {"rank 0, position 1 (0W0)", "no 0I0 before it"}));
    BOOST_TEST(tells(check_text("0: 0F0 0B0 O 0F1 0B1", one), {"rank 0, position 2 (O)", "last"}));
    BOOST_TEST(tells(check_text("0: 0F0 0B0 0F1 0B1 O O", one),
                     {"rank 0, position 5 (O)", "second optimizer step"}));
    BOOST_TEST(tells(check_text("0: 0F0 0F0 0B0 0F1 0B1 O", one),
                     {"rank 0, position 1 (0F0)", "a second time"}));
}

BOOST_AUTO_TEST_CASE(misplaced_messages_are_named)
{
    const char* two = "ranks 2 chunks 2 microbatches 1";
    const char* rank1 = "\n1: 1RA0 1F0 1B0 1SG0 O";
    const auto with_rank0 = [&](const char* rank0) {
        return check_text(std::string("0: ") + rank0 + rank1, two);
    };
    BOOST_TEST(with_rank0("0F0 0SA0 0RG0 0B0 O").good());
    BOOST_TEST(tells(with_rank0("0SA0 0F0 0RG0 0B0 O"),
                     {"rank 0, position 0 (0SA0)", "no 0F0 before it"}));
    BOOST_TEST(tells(with_rank0("0F0 0SA0 0B0 0RG0 O"),
                     {"rank 0, position 2 (0B0)", "no 0RG0 before it"}));
    BOOST_TEST(tells(with_rank0("0F0 0SA0 0RG0 0B0 0SG0 O"),
                     {"rank 0, position 4 (0SG0)", "no chunk on the other side"}));
    BOOST_TEST(
        tells(check_text("0: 0F0 0SA0 1RA0 1F0 1B0 0B0 O", "ranks 1 chunks 2 microbatches 1"),
              {"rank 0, position 1 (0SA0)", "nothing travels"}));
}

BOOST_AUTO_TEST_CASE(wrong_place_is_named)
{
    Schedule schedule = make_1f1b(2, 2);
    schedule.actions[0].insert(schedule.actions[0].begin(), {ActionKind::forward, 1, 0});
    BOOST_TEST(
        tells(check_schedule(schedule), {"rank 0, position 0 (1F0)", "chunk 1 belongs to rank 1"}));
    schedule.actions[0][0] = {ActionKind::forward, 7, 0};
    BOOST_TEST(tells(check_schedule(schedule), {"position 0 (7F0)", "there are 2 chunks"}));
    schedule.actions[0][0] = {ActionKind::forward, 0, 2};
    BOOST_TEST(tells(check_schedule(schedule), {"position 0 (0F2)", "there are 2 micro-batches"}));
    schedule.rank_of_chunk[1] = 5;
    BOOST_TEST(tells(check_schedule(schedule), {"chunk 1 is on rank 5 of 2"}));
    BOOST_TEST(!check_schedule(Schedule{}).good());
}

// Rank 0 will not send the second micro-batch before the first one's gradient is back; rank 1 wants
// both forwards first.
BOOST_AUTO_TEST_CASE(deadlock_of_computation)
{
    const Schedule schedule = parse_schedule("ranks 2 chunks 2 microbatches 2\n"
                                             "0: 0F0 0B0 0F1 0B1 O\n"
                                             "1: 1F0 1F1 1B0 1B1 O\n",
                                             "test");
    for (const Schedule& each : {schedule, with_communication(schedule)}) {
        const auto report = check_schedule(each);
        BOOST_TEST(tells(report, {"rank 0", "(0B0)", "deadlock"}), all(report));
        BOOST_TEST(tells(report, {"rank 1", "(1F1)", "deadlock"}), all(report));
    }
    BOOST_TEST(tells(check_schedule(with_communication(schedule)),
                     {"rank 1, position 3 (1F1)", "0SA1 on rank 0"}));
}

// Both ranks send before they post what the other one sends; nobody stands still in a send.
BOOST_AUTO_TEST_CASE(receives_posted_late_are_no_deadlock)
{
    for (const auto rule : {MatchingRule::by_tag, MatchingRule::in_order})
        BOOST_TEST(check_schedule(with_communication(make_1f1b(2, 3), 0), rule).good());
}

BOOST_AUTO_TEST_CASE(receives_out_of_order_suit_tags_only)
{
    const char* sizes = "ranks 2 chunks 2 microbatches 2";
    const char* actions = "0: 0F0 0SA0 0F1 0SA1 0RG0 0RG1 0B0 0B1 O\n"
                          "1: 1RA1 1RA0 1F0 1F1 1B0 1SG0 1B1 1SG1 O\n";
    BOOST_TEST(check_text(actions, sizes).good());
    BOOST_TEST(tells(check_text(actions, sizes, MatchingRule::in_order),
                     {"rank 1", "activation of micro-batch 1", "rank 0", "sends that of 0"}));
    const char* gradients = "0: 0F0 0SA0 0F1 0SA1 0RG1 0RG0 0B0 0B1 O\n"
                            "1: 1RA0 1RA1 1F0 1F1 1B0 1SG0 1B1 1SG1 O\n";
    BOOST_TEST(tells(check_text(gradients, sizes, MatchingRule::in_order),
                     {"rank 0", "gradient of micro-batch 1", "rank 1", "sends that of 0"}));
}

BOOST_AUTO_TEST_CASE(thoroughly_wrong_schedules_stay_small)
{
    Schedule empty = make_gpipe(4, 5000);
    for (auto& actions : empty.actions)
        actions.clear();
    BOOST_TEST(check_schedule(empty).problems.size() == 1001);
    BOOST_TEST(tells(check_schedule(empty), {"more"}));
    BOOST_TEST(tells(check_text("0: 0F0 O", "ranks 1 chunks 1 microbatches 2000000000"),
                     {"actions where at least"}));
}

// Linear in the number of actions: this is 25 million of them.
BOOST_AUTO_TEST_CASE(a_thousand_ranks)
{
    const Schedule schedule = with_communication(make_1f1b(1024, 4096));
    const auto report = check_schedule(schedule);
    BOOST_REQUIRE(report.good());
    BOOST_TEST(report.slots.num_activation_slots[0] == 1024);
    BOOST_TEST(report.slots.num_activation_slots[1] == 1023);
    BOOST_TEST(report.slots.num_activation_slots[1023] == 1);
}

BOOST_AUTO_TEST_SUITE_END()
