// The slots that the checker counts, tried out: programs run with ranks taking turns at random and
// messages arriving as late or early as the rules allow, every buffer holding only whose it is.

#include "core/random.hpp"
#include "pipeline/schedule/schedule_checker.hpp"
#include "pipeline/schedule/schedule_family.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

using namespace sluice;

namespace {

/// Of which chunk's micro-batch a buffer holds something.
struct Owner {
    std::int32_t chunk = -1, microbatch = -1;
    bool operator==(const Owner&) const = default;
};
constexpr Owner nobody{};

/// One rank's memory: for whom each slot was last written.
struct RankBuffers {
    std::vector<Owner> input, output;                   ///< [activation slot]
    std::vector<Owner> inbox;                           ///< [inbox slot]
    std::vector<Owner> output_gradient, input_gradient; ///< [gradient slot]
    /// The message last sent out of each slot.
    std::vector<Owner> sent_activation, sent_gradient;
};

/// A message to (chunk, micro-batch), gradient or activation.
struct Message {
    bool sent = false, posted = false, delivered = false;
};

/// Evaluation overwrites a chunk's activations with its next micro-batch's.
enum class Reuse : bool { after_backward, at_once };

class Playground {
public:
    Playground(const Schedule& schedule, const SlotTable& slots, std::uint64_t seed,
               Reuse reuse = Reuse::after_backward)
        : schedule_(schedule), slots_(slots), reuse_(reuse), random_(seed, "test.slots"),
          next_(schedule.actions.size(), 0)
    {
        for (std::size_t rank = 0; rank < schedule.actions.size(); ++rank) {
            const auto empty = [](std::int32_t count) {
                return std::vector<Owner>(static_cast<std::size_t>(count), nobody);
            };
            const auto activations = empty(slots.num_activation_slots[rank]);
            const auto gradients = empty(slots.num_gradient_slots[rank]);
            buffers_.push_back({activations, activations, empty(slots.num_inbox_slots[rank]),
                                gradients, gradients, activations, gradients});
        }
        const auto entries = static_cast<std::size_t>(schedule.num_chunks) *
                             static_cast<std::size_t>(schedule.num_microbatches);
        for (auto& messages : messages_)
            messages.resize(entries);
    }

    /// Empty when every buffer held what it should all along; otherwise the first thing wrong.
    std::string run()
    {
        while (wrong_.empty()) {
            bool moved = false, left = false;
            // A random rank first, so that any of them may run far ahead.
            const auto first = draw(schedule_.actions.size());
            for (std::size_t i = 0; i < schedule_.actions.size(); ++i) {
                const std::size_t rank = (first + i) % schedule_.actions.size();
                for (auto steps = draw(6) + 1; steps > 0 && !finished(rank); --steps)
                    if (run_one(rank))
                        moved = true;
                    else
                        break;
                left = left || !finished(rank);
            }
            if (!left)
                return wrong_;
            if (draw(3) == 0 || !moved)
                if (!deliver_one() && !moved)
                    return "stuck";
        }
        return wrong_;
    }

private:
    std::size_t draw(std::size_t below)
    {
        return static_cast<std::size_t>(random_.bits(drawn_++) % below);
    }
    bool finished(std::size_t rank) const { return next_[rank] == schedule_.actions[rank].size(); }
    Message& message(bool gradient, std::int32_t chunk, std::int32_t microbatch)
    {
        return messages_[gradient][schedule_.entry(chunk, microbatch)];
    }
    RankBuffers& buffers_of(std::int32_t chunk) { return buffers_[schedule_.rank_of_chunk[chunk]]; }
    Owner& input(std::int32_t c, std::int32_t m)
    {
        return buffers_of(c).input[slots_.activation(c, m)];
    }
    Owner& output(std::int32_t c, std::int32_t m)
    {
        return buffers_of(c).output[slots_.activation(c, m)];
    }
    Owner& inbox(std::int32_t c, std::int32_t m) { return buffers_of(c).inbox[slots_.inbox(c, m)]; }
    Owner& output_gradient(std::int32_t c, std::int32_t m)
    {
        return buffers_of(c).output_gradient[slots_.gradient(c, m)];
    }
    Owner& input_gradient(std::int32_t c, std::int32_t m)
    {
        return buffers_of(c).input_gradient[slots_.gradient(c, m)];
    }

    void expect(Owner found, Owner wanted, const Action& action, const char* what)
    {
        if (found != wanted && wrong_.empty())
            wrong_ = text_of(action) + ": " + what + " is of chunk " + std::to_string(found.chunk) +
                     ", micro-batch " + std::to_string(found.microbatch);
    }

    struct Underway {
        bool gradient;
        std::int32_t chunk, microbatch;
    };

    bool deliver_one()
    {
        if (underway_.empty())
            return false;
        const auto which = static_cast<std::ptrdiff_t>(draw(underway_.size()));
        const Underway one = underway_[static_cast<std::size_t>(which)];
        underway_.erase(underway_.begin() + which);
        const std::int32_t m = one.microbatch;
        const std::int32_t sender = one.gradient ? one.chunk + 1 : one.chunk - 1;
        Owner& there = one.gradient ? output_gradient(one.chunk, m) : inbox(one.chunk, m);
        const Owner here = one.gradient ? input_gradient(sender, m) : output(sender, m);
        const Action arriving{one.gradient ? ActionKind::receive_gradient
                                           : ActionKind::receive_activation,
                              one.chunk, m};
        expect(here, {sender, m}, arriving, "what was sent");
        expect(there, nobody, arriving, "the buffer received into");
        there = {one.chunk, m};
        message(one.gradient, one.chunk, m).delivered = true;
        return true;
    }

    void note(bool gradient, std::int32_t chunk, std::int32_t microbatch)
    {
        const Message& one = message(gradient, chunk, microbatch);
        if (one.sent && one.posted)
            underway_.push_back({gradient, chunk, microbatch});
    }

    /// Whether the last message out of a slot was delivered, if it was sent.
    bool free_to_write(bool gradient, Owner last)
    {
        return last == nobody || message(gradient, last.chunk, last.microbatch).delivered;
    }

    /// False when the action has to wait.
    bool run_one(std::size_t rank)
    {
        const Action action = schedule_.actions[rank][next_[rank]];
        const bool moved = computes(action.kind) ? compute(action) : exchange(action);
        next_[rank] += moved ? 1 : 0;
        return moved;
    }

    bool compute(const Action& action)
    {
        const std::int32_t c = action.chunk, m = action.microbatch;
        const Owner own{c, m};
        switch (action.kind) {
        case ActionKind::forward:
            if ((schedule_.crosses(c - 1) && !message(false, c, m).delivered) ||
                !free_to_write(false, buffers_of(c).sent_activation[slots_.activation(c, m)]))
                return false;
            if (reuse_ == Reuse::after_backward)
                expect(input(c, m), nobody, action, "the slot");
            if (schedule_.crosses(c - 1)) {
                expect(inbox(c, m), own, action, "the inbox");
                inbox(c, m) = nobody;
            } else if (c > 0) {
                expect(output(c - 1, m), {c - 1, m}, action, "the chunk before");
            }
            input(c, m) = output(c, m) = own;
            break;
        case ActionKind::backward:
        case ActionKind::backward_input:
            if ((schedule_.crosses(c) && !message(true, c, m).delivered) ||
                !free_to_write(true, buffers_of(c).sent_gradient[slots_.gradient(c, m)]))
                return false;
            if (!schedule_.crosses(c)) {
                if (c + 1 < schedule_.num_chunks)
                    expect(input_gradient(c + 1, m), {c + 1, m}, action, "the chunk behind");
                output_gradient(c, m) = own;
            }
            expect(output_gradient(c, m), own, action, "the output gradient");
            expect(output(c, m), own, action, "the activation");
            input_gradient(c, m) = own;
            if (action.kind == ActionKind::backward)
                input(c, m) = output_gradient(c, m) = nobody;
            break;
        default:
            expect(input(c, m), own, action, "the input");
            expect(output(c, m), own, action, "the activation");
            expect(output_gradient(c, m), own, action, "the output gradient");
            expect(input_gradient(c, m), own, action, "the input gradient");
            input(c, m) = output_gradient(c, m) = nobody;
        }
        return true;
    }

    bool exchange(const Action& action)
    {
        const std::int32_t c = action.chunk, m = action.microbatch;
        switch (action.kind) {
        case ActionKind::receive_activation:
            expect(inbox(c, m), nobody, action, "the inbox");
            message(false, c, m).posted = true;
            note(false, c, m);
            break;
        case ActionKind::receive_gradient:
            if (!free_to_write(true, buffers_of(c).sent_gradient[slots_.gradient(c, m)]))
                return false;
            expect(output_gradient(c, m), nobody, action, "the slot");
            message(true, c, m).posted = true;
            note(true, c, m);
            break;
        case ActionKind::send_activation:
            buffers_of(c).sent_activation[slots_.activation(c, m)] = {c + 1, m};
            message(false, c + 1, m).sent = true;
            note(false, c + 1, m);
            break;
        case ActionKind::send_gradient:
            buffers_of(c).sent_gradient[slots_.gradient(c, m)] = {c - 1, m};
            message(true, c - 1, m).sent = true;
            note(true, c - 1, m);
            break;
        default: break; // the optimizer step
        }
        return true;
    }

    const Schedule& schedule_;
    const SlotTable& slots_;
    Reuse reuse_;
    RandomStream random_;
    std::uint64_t drawn_ = 0;
    std::vector<RankBuffers> buffers_; ///< [rank]
    std::vector<Message> messages_[2];
    std::deque<Underway> underway_;
    std::vector<std::size_t> next_;
    std::string wrong_;
};

void try_out(const Schedule& compute, std::int32_t ahead, std::uint64_t seed)
{
    const Schedule schedule = with_communication(compute, ahead);
    const ScheduleReport report = check_schedule(schedule);
    BOOST_REQUIRE(report.good());
    const std::string wrong = Playground(schedule, report.slots, seed).run();
    BOOST_REQUIRE_MESSAGE(wrong.empty(), wrong << " with " << ahead << " ahead in\n"
                                               << text_of(schedule));
}

/// All forwards of chunk after chunk, and back: several chunks per rank, placed as told.
Schedule chunk_after_chunk(std::int32_t num_ranks, std::vector<std::int32_t> rank_of_chunk,
                           std::int32_t microbatches, bool split)
{
    Schedule schedule{static_cast<std::int32_t>(rank_of_chunk.size()),
                      microbatches,
                      std::move(rank_of_chunk),
                      {}};
    schedule.actions.resize(static_cast<std::size_t>(num_ranks));
    const auto all = [&](ActionKind kind, std::int32_t chunk) {
        for (std::int32_t m = 0; m < microbatches; ++m)
            schedule.actions[schedule.rank_of_chunk[chunk]].push_back({kind, chunk, m});
    };
    for (std::int32_t c = 0; c < schedule.num_chunks; ++c)
        all(ActionKind::forward, c);
    for (std::int32_t c = schedule.num_chunks - 1; c >= 0; --c)
        all(split ? ActionKind::backward_input : ActionKind::backward, c);
    for (std::int32_t c = schedule.num_chunks - 1; split && c >= 0; --c)
        all(ActionKind::backward_weight, c);
    for (auto& actions : schedule.actions)
        actions.push_back({ActionKind::optimizer_step, 0, 0});
    return schedule;
}

} // namespace

BOOST_AUTO_TEST_SUITE(schedule_slots)

BOOST_AUTO_TEST_CASE(slots_suffice_in_any_interleaving)
{
    std::uint64_t seed = 0;
    for (std::int32_t ranks : {1, 2, 3, 4, 6})
        for (std::int32_t microbatches : {1, 2, 5, 12})
            for (std::int32_t extra : {0, 1, 2, 5})
                for (std::int32_t ahead : {0, 1, 2, 3, 30}) {
                    for (int repeat = 0; repeat < 3; ++repeat)
                        try_out(make_1f1b(ranks, microbatches, extra), ahead, ++seed);
                    if (extra == 0)
                        try_out(make_gpipe(ranks, microbatches), ahead, ++seed);
                }
}

BOOST_AUTO_TEST_CASE(slots_suffice_with_several_chunks_per_rank)
{
    std::uint64_t seed = 1000000;
    for (const bool split : {false, true})
        for (std::int32_t microbatches : {1, 2, 5})
            for (std::int32_t ahead : {0, 1, 2, 7})
                for (int repeat = 0; repeat < 5; ++repeat) {
                    try_out(chunk_after_chunk(2, {0, 1, 0, 1}, microbatches, split), ahead, ++seed);
                    try_out(chunk_after_chunk(2, {0, 1, 1, 0}, microbatches, split), ahead, ++seed);
                    try_out(chunk_after_chunk(3, {0, 0, 1, 2, 2, 1}, microbatches, split), ahead,
                            ++seed);
                }
}

BOOST_AUTO_TEST_CASE(slots_suffice_for_every_family)
{
    std::uint64_t seed = 3000000;
    for (const ScheduleFamily family : all_schedule_families)
        for (const std::int32_t ranks : {1, 2, 3, 5})
            for (const std::int32_t microbatches : {1, 3, 8})
                for (const std::int32_t ahead : {0, 1, 4})
                    for (int repeat = 0; repeat < 3; ++repeat)
                        try_out(make_schedule({.family = family,
                                               .num_ranks = ranks,
                                               .num_microbatches = microbatches,
                                               .chunks_per_rank = 3,
                                               .extra_warmup = 0,
                                               .costs = {}}),
                                ahead, ++seed);
}

// The trial itself must be able to see a slot that is used twice: slots that were assigned for
// another schedule.
BOOST_AUTO_TEST_CASE(wrong_slots_are_seen)
{
    const Schedule schedule = with_communication(make_1f1b(3, 8), 2);
    for (const Schedule& other :
         {with_communication(make_1f1b(3, 8), 0), make_1f1b(3, 8),
          with_communication(chunk_after_chunk(3, {0, 1, 2}, 8, false), 1)}) {
        const ScheduleReport report = check_schedule(other);
        BOOST_REQUIRE(report.good());
        SlotTable slots = report.slots;
        for (auto* counts :
             {&slots.num_activation_slots, &slots.num_gradient_slots, &slots.num_inbox_slots})
            for (std::int32_t& count : *counts)
                count = std::max(count, 1);
        const bool has_inbox = has_communication(other);
        int seen = 0;
        for (std::uint64_t seed = 0; has_inbox && seed < 20; ++seed)
            seen += !Playground(schedule, slots, seed).run().empty();
        // All forwards first needs more slots, never fewer, but for the inbox.
        BOOST_TEST((seen > 0 || !has_inbox || report.slots.num_activation_slots[0] == 8));
    }
}

BOOST_AUTO_TEST_CASE(forwards_only_need_one_slot_per_chunk)
{
    std::uint64_t seed = 2000000;
    for (const std::vector<std::int32_t>& rank_of_chunk : {std::vector<std::int32_t>{0},
                                                           {0, 0},
                                                           {0, 1, 2},
                                                           {0, 1, 0, 1},
                                                           {0, 1, 1, 0},
                                                           {0, 1, 2, 2, 1, 0},
                                                           {0, 1, 2, 0, 1, 2, 0, 1, 2}})
        for (const std::int32_t microbatches : {1, 2, 9}) {
            const std::int32_t ranks =
                *std::max_element(rank_of_chunk.begin(), rank_of_chunk.end()) + 1;
            const Schedule schedule = make_forward_only(rank_of_chunk, ranks, microbatches);
            const SlotTable slots = forward_only_slots(schedule);
            for (int repeat = 0; repeat < 20; ++repeat)
                BOOST_TEST(Playground(schedule, slots, ++seed, Reuse::at_once).run() == "");
        }
}

// As a custom schedule may place them.
BOOST_AUTO_TEST_CASE(forwards_only_finish_in_any_placement)
{
    const RandomStream random(4, "test.placements");
    std::uint64_t drawn = 0;
    const auto draw = [&](std::uint64_t below) {
        return static_cast<std::int32_t>(random.bits(drawn++) % below);
    };
    for (int repeat = 0; repeat < 2000; ++repeat) {
        const std::int32_t ranks = draw(4) + 1;
        std::vector<std::int32_t> rank_of_chunk(static_cast<std::size_t>(draw(8) + 1));
        for (std::int32_t& rank : rank_of_chunk)
            rank = draw(static_cast<std::uint64_t>(ranks));
        const Schedule schedule = make_forward_only(rank_of_chunk, ranks, draw(7) + 1);
        const SlotTable slots = forward_only_slots(schedule);
        const std::string wrong =
            Playground(schedule, slots, 5000000 + static_cast<std::uint64_t>(repeat),
                       Reuse::at_once)
                .run();
        BOOST_REQUIRE_MESSAGE(wrong.empty(), wrong << " in\n" << text_of(schedule));
    }
}

// One step a micro-batch once the pipeline is full: evaluation is a pipeline, too.
BOOST_AUTO_TEST_CASE(forwards_only_fill_the_pipeline)
{
    const Schedule schedule = make_forward_only({0, 1, 2, 3}, 4, 20);
    const std::vector<ChunkCosts> costs(4, ChunkCosts{1.0, 0.0, 0.0, 0.0});
    double end = 0.0;
    const auto stuck =
        run_timeline(schedule, costs, [&](std::int32_t, std::size_t, ActionTime time) {
            end = std::max(end, time.end);
        });
    BOOST_TEST(stuck.empty());
    BOOST_TEST(end == 23.0);
}

BOOST_AUTO_TEST_SUITE_END()
