// The slots that the checker counts, tried out: programs run with ranks taking turns at random and
// messages arriving as late or early as the rules allow, every buffer holding only the number of
// the micro-batch it was last written for.

#include "core/random.hpp"
#include "pipeline/schedule/schedule_checker.hpp"

#include <boost/test/unit_test.hpp>

#include <deque>
#include <string>
#include <vector>

using namespace sluice;

namespace {

constexpr std::int32_t nothing = -1;

/// One chunk's memory: what each slot was last written for.
struct ChunkBuffers {
    std::vector<std::int32_t> input, output;                   ///< [activation slot]
    std::vector<std::int32_t> output_gradient, input_gradient; ///< [gradient slot]
    std::int32_t& at(std::vector<std::int32_t>& buffer, std::int32_t microbatch)
    {
        return buffer[static_cast<std::size_t>(microbatch) % buffer.size()];
    }
};

/// A message to (chunk, micro-batch), gradient or activation.
struct Message {
    bool sent = false, posted = false, delivered = false;
};

class Playground {
public:
    Playground(const Schedule& schedule, const ScheduleReport& report, std::uint64_t seed)
        : schedule_(schedule), random_(seed, "test.slots"), next_(schedule.actions.size(), 0)
    {
        for (std::int32_t c = 0; c < schedule.num_chunks; ++c) {
            const auto slots = static_cast<std::size_t>(report.peak_live_microbatches[c]);
            const auto gradients = static_cast<std::size_t>(report.peak_live_gradients[c]);
            buffers_.push_back({std::vector<std::int32_t>(slots, nothing),
                                std::vector<std::int32_t>(slots, nothing),
                                std::vector<std::int32_t>(gradients, nothing),
                                std::vector<std::int32_t>(gradients, nothing)});
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
        return messages_[gradient][static_cast<std::size_t>(chunk) *
                                       static_cast<std::size_t>(schedule_.num_microbatches) +
                                   static_cast<std::size_t>(microbatch)];
    }
    bool crosses(std::int32_t chunk) const
    {
        return chunk >= 0 && chunk + 1 < schedule_.num_chunks &&
               schedule_.rank_of_chunk[chunk] != schedule_.rank_of_chunk[chunk + 1];
    }

    void expect(std::int32_t found, std::int32_t wanted, const Action& action, const char* what)
    {
        if (found != wanted && wrong_.empty())
            wrong_ = text_of(action) + ": " + what + " is of micro-batch " + std::to_string(found);
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
        ChunkBuffers& to = buffers_[one.chunk];
        ChunkBuffers& from = buffers_[one.gradient ? one.chunk + 1 : one.chunk - 1];
        auto& there = to.at(one.gradient ? to.output_gradient : to.input, m);
        const auto here = from.at(one.gradient ? from.input_gradient : from.output, m);
        const Action arriving{one.gradient ? ActionKind::receive_gradient
                                           : ActionKind::receive_activation,
                              one.chunk, m};
        expect(here, m, arriving, "what was sent");
        expect(there, nothing, arriving, "the buffer received into");
        there = here;
        message(one.gradient, one.chunk, m).delivered = true;
        return true;
    }

    void note(bool gradient, std::int32_t chunk, std::int32_t microbatch)
    {
        const Message& one = message(gradient, chunk, microbatch);
        if (one.sent && one.posted)
            underway_.push_back({gradient, chunk, microbatch});
    }

    /// Whether the buffer that (chunk, m) sends from is free: its last message was delivered.
    bool free_to_write(bool gradient, std::int32_t chunk, std::int32_t m, std::size_t slots)
    {
        const std::int32_t to = gradient ? chunk - 1 : chunk + 1;
        const std::int32_t before = m - static_cast<std::int32_t>(slots);
        if (before < 0 || !crosses(gradient ? chunk - 1 : chunk))
            return true;
        return message(gradient, to, before).delivered;
    }

    /// False when the action has to wait.
    bool run_one(std::size_t rank)
    {
        const Action action = schedule_.actions[rank][next_[rank]];
        const std::int32_t c = action.chunk, m = action.microbatch;
        ChunkBuffers& own = buffers_[c];
        switch (action.kind) {
        case ActionKind::forward:
            if ((crosses(c - 1) && !message(false, c, m).delivered) ||
                !free_to_write(false, c, m, own.output.size()))
                return false;
            if (c > 0 && !crosses(c - 1))
                own.at(own.input, m) = buffers_[c - 1].at(buffers_[c - 1].output, m);
            if (c > 0)
                expect(own.at(own.input, m), m, action, "the input");
            else
                own.at(own.input, m) = m;
            own.at(own.output, m) = m;
            break;
        case ActionKind::backward:
        case ActionKind::backward_input:
            if ((crosses(c) && !message(true, c, m).delivered) ||
                !free_to_write(true, c, m, own.input_gradient.size()))
                return false;
            if (c + 1 == schedule_.num_chunks)
                own.at(own.output_gradient, m) = m;
            else if (!crosses(c))
                own.at(own.output_gradient, m) =
                    buffers_[c + 1].at(buffers_[c + 1].input_gradient, m);
            expect(own.at(own.output_gradient, m), m, action, "the output gradient");
            expect(own.at(own.output, m), m, action, "the activation");
            own.at(own.input_gradient, m) = m;
            if (action.kind == ActionKind::backward)
                own.at(own.input, m) = own.at(own.output_gradient, m) = nothing;
            break;
        case ActionKind::backward_weight:
            expect(own.at(own.input, m), m, action, "the input");
            expect(own.at(own.output, m), m, action, "the activation");
            expect(own.at(own.output_gradient, m), m, action, "the output gradient");
            expect(own.at(own.input_gradient, m), m, action, "the input gradient");
            own.at(own.input, m) = own.at(own.output_gradient, m) = nothing;
            break;
        case ActionKind::receive_activation:
            expect(own.at(own.input, m), nothing, action, "the slot");
            message(false, c, m).posted = true;
            note(false, c, m);
            break;
        case ActionKind::receive_gradient:
            expect(own.at(own.output_gradient, m), nothing, action, "the slot");
            message(true, c, m).posted = true;
            note(true, c, m);
            break;
        case ActionKind::send_activation:
            message(false, c + 1, m).sent = true;
            note(false, c + 1, m);
            break;
        case ActionKind::send_gradient:
            message(true, c - 1, m).sent = true;
            note(true, c - 1, m);
            break;
        case ActionKind::optimizer_step: break;
        }
        ++next_[rank];
        return true;
    }

    const Schedule& schedule_;
    RandomStream random_;
    std::uint64_t drawn_ = 0;
    std::vector<ChunkBuffers> buffers_;
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
    const std::string wrong = Playground(schedule, report, seed).run();
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

// The trial itself must be able to see a slot that is used twice.
BOOST_AUTO_TEST_CASE(one_slot_too_few_is_seen)
{
    const Schedule schedule = with_communication(make_1f1b(3, 8), 2);
    const ScheduleReport good = check_schedule(schedule);
    for (std::size_t chunk = 0; chunk < 3; ++chunk)
        for (auto peak :
             {&ScheduleReport::peak_live_microbatches, &ScheduleReport::peak_live_gradients}) {
            if ((good.*peak)[chunk] == 1)
                continue;
            ScheduleReport fewer = good;
            --(fewer.*peak)[chunk];
            int seen = 0;
            for (std::uint64_t seed = 0; seed < 20; ++seed)
                seen += !Playground(schedule, fewer, seed).run().empty();
            // Fewer buffers for gradients that only go out cost time, not correctness.
            if (peak == &ScheduleReport::peak_live_microbatches || chunk < 2)
                BOOST_TEST(seen > 0, "chunk " << chunk);
        }
}

BOOST_AUTO_TEST_SUITE_END()
