// np: 2 3 4
// Schedules' communication run over real messages, with nothing but numbers for computation: what
// the checker calls good must finish, with messages that are never buffered, and every message
// exactly once.

#include "pipeline/schedule/schedule_checker.hpp"
#include "pipeline/schedule/schedule_family.hpp"
#include "tests/mpi_session.hpp"

#include <boost/test/unit_test.hpp>

#include <optional>
#include <utility>

using namespace sluice;
using sluice::testing::shared_transport;

namespace {

/// This rank's buffers of `size` floats, and the messages under way into or out of them.
struct Buffers {
    using Values = std::vector<std::vector<float>>;
    Buffers(const SlotTable& slots, std::size_t rank, std::size_t size)
        : inbox(slots.num_inbox_slots[rank], std::vector<float>(size)),
          input(slots.num_activation_slots[rank], std::vector<float>(size)), output(input),
          output_gradient(slots.num_gradient_slots[rank], std::vector<float>(size)),
          input_gradient(output_gradient), inbox_message(inbox.size()),
          output_message(output.size()), output_gradient_message(output_gradient.size()),
          input_gradient_message(input_gradient.size())
    {
    }
    Values inbox, input, output, output_gradient, input_gradient;
    std::vector<MessageId> inbox_message, output_message, output_gradient_message,
        input_gradient_message;
};

/// A chunk adds 1 to what it gets, forwards and backwards; micro-batch m starts as 1000 m.
class Runner {
public:
    Runner(const Schedule& schedule, std::size_t size) : schedule_(schedule), size_(size)
    {
        ScheduleReport report = check_schedule(schedule);
        BOOST_REQUIRE(report.good());
        slots_ = std::move(report.slots);
        buffers_.emplace(slots_, static_cast<std::size_t>(transport_.rank()), size);
    }

    void run()
    {
        for (const Action& action :
             schedule_.actions[static_cast<std::size_t>(transport_.rank())]) {
            if (action.kind != ActionKind::optimizer_step)
                run(action);
            transport_.progress();
        }
        for (MessageId& message : buffers_->output_message)
            transport_.wait(std::exchange(message, 0));
        for (MessageId& message : buffers_->input_gradient_message)
            transport_.wait(std::exchange(message, 0));
    }

private:
    TensorView view(std::vector<float>& values)
    {
        return view_of(values.data(), {static_cast<std::int64_t>(size_)});
    }
    bool owns(std::int32_t chunk) const
    {
        return schedule_.rank_of_chunk[chunk] == transport_.rank();
    }
    void expect(const std::vector<float>& values, std::int32_t m, std::int32_t hops)
    {
        const auto wanted = static_cast<float>(1000 * m + hops);
        BOOST_TEST((values.front() == wanted && values.back() == wanted));
    }
    void run(const Action& action);

    Transport& transport_ = shared_transport();
    const Schedule& schedule_;
    std::size_t size_;
    SlotTable slots_;
    std::optional<Buffers> buffers_;
};

void Runner::run(const Action& action)
{
    const std::int32_t c = action.chunk, m = action.microbatch;
    const std::int32_t last = schedule_.num_chunks - 1;
    Buffers& own = *buffers_;
    const std::int32_t s = slots_.activation(c, m), g = slots_.gradient(c, m);
    const std::int32_t i = slots_.inbox(c, m);
    switch (action.kind) {
    case ActionKind::forward:
        transport_.wait(std::exchange(own.output_message[s], 0));
        if (c == 0) {
            own.input[s].assign(size_, static_cast<float>(1000 * m));
        } else if (owns(c - 1)) {
            own.input[s] = own.output[slots_.activation(c - 1, m)];
        } else {
            transport_.wait(std::exchange(own.inbox_message[i], 0));
            own.input[s] = own.inbox[i];
        }
        expect(own.input[s], m, c);
        own.output[s].assign(size_, own.input[s][0] + 1.0f);
        break;
    case ActionKind::backward:
    case ActionKind::backward_input:
        transport_.wait(std::exchange(own.input_gradient_message[g], 0));
        if (c == last)
            own.output_gradient[g].assign(size_, static_cast<float>(1000 * m));
        else if (owns(c + 1))
            own.output_gradient[g] = own.input_gradient[slots_.gradient(c + 1, m)];
        else
            transport_.wait(std::exchange(own.output_gradient_message[g], 0));
        expect(own.output_gradient[g], m, last - c);
        expect(own.input[s], m, c);
        own.input_gradient[g].assign(size_, own.output_gradient[g][0] + 1.0f);
        break;
    case ActionKind::backward_weight:
        expect(own.output_gradient[g], m, last - c);
        expect(own.input[s], m, c);
        break;
    case ActionKind::receive_activation:
        own.inbox_message[i] =
            transport_.receive(view(own.inbox[i]), schedule_.rank_of_chunk[c - 1], {c, m, false});
        break;
    case ActionKind::send_activation:
        own.output_message[s] =
            transport_.send(view(own.output[s]), schedule_.rank_of_chunk[c + 1], {c + 1, m, false});
        break;
    case ActionKind::receive_gradient:
        transport_.wait(std::exchange(own.input_gradient_message[g], 0));
        own.output_gradient_message[g] = transport_.receive(
            view(own.output_gradient[g]), schedule_.rank_of_chunk[c + 1], {c, m, true});
        break;
    case ActionKind::send_gradient:
        own.input_gradient_message[g] = transport_.send(
            view(own.input_gradient[g]), schedule_.rank_of_chunk[c - 1], {c - 1, m, true});
        break;
    default: BOOST_FAIL("not in these schedules: " << text_of(action));
    }
}

constexpr std::size_t small = 10, large = 300000; // 40 bytes; 1.2 MB, never buffered

} // namespace

BOOST_AUTO_TEST_SUITE(schedule)

BOOST_AUTO_TEST_CASE(good_schedules_finish)
{
    const int ranks = shared_transport().num_ranks();
    for (const std::size_t size : {small, large})
        for (const std::int32_t microbatches : {1, 2, 7})
            for (const std::int32_t ahead : {0, 1}) {
                for (const std::int32_t extra : {0, 2}) {
                    const Schedule schedule =
                        with_communication(make_1f1b(ranks, microbatches, extra), ahead);
                    Runner runner(schedule, size);
                    runner.run();
                    runner.run(); // a second update finds every buffer free
                }
                const Schedule schedule =
                    with_communication(make_gpipe(ranks, microbatches), ahead);
                Runner(schedule, size).run();
            }
}

BOOST_AUTO_TEST_CASE(several_chunks_per_rank_finish)
{
    const int ranks = shared_transport().num_ranks();
    for (const bool v : {false, true}) {
        Schedule schedule{2 * ranks, 3, {}, {}};
        for (int c = 0; c < 2 * ranks; ++c)
            schedule.rank_of_chunk.push_back(v && c >= ranks ? 2 * ranks - 1 - c : c % ranks);
        schedule.actions.resize(static_cast<std::size_t>(ranks));
        for (const ActionKind kind : {ActionKind::forward, ActionKind::backward})
            for (int i = 0; i < 2 * ranks; ++i)
                for (std::int32_t m = 0; m < 3; ++m) {
                    const int c = kind == ActionKind::forward ? i : 2 * ranks - 1 - i;
                    schedule.actions[schedule.rank_of_chunk[c]].push_back({kind, c, m});
                }
        for (auto& actions : schedule.actions)
            actions.push_back({ActionKind::optimizer_step, 0, 0});
        const Schedule lowered = with_communication(schedule);
        Runner(lowered, large).run();
    }
}

BOOST_AUTO_TEST_CASE(every_family_finishes)
{
    for (const ScheduleFamily family : all_schedule_families)
        for (const std::int32_t microbatches : {1, 5}) {
            const Schedule schedule =
                with_communication(make_schedule({.family = family,
                                                  .num_ranks = shared_transport().num_ranks(),
                                                  .num_microbatches = microbatches,
                                                  .chunks_per_rank = 2,
                                                  .extra_warmup = 0,
                                                  .costs = {}}));
            Runner(schedule, large).run();
        }
}

BOOST_AUTO_TEST_CASE(one_message_per_microbatch_and_edge)
{
    Transport& transport = shared_transport();
    const std::int32_t microbatches = 7;
    const Schedule schedule = with_communication(make_1f1b(transport.num_ranks(), microbatches));
    Runner runner(schedule, small);
    const auto sends = sluice::testing::sends_started();
    const auto receives = sluice::testing::receives_started();
    runner.run();
    const bool first = transport.rank() == 0, last = transport.rank() + 1 == transport.num_ranks();
    const int edges = (first ? 0 : 1) + (last ? 0 : 1);
    BOOST_TEST(sluice::testing::sends_started() - sends == edges * microbatches);
    BOOST_TEST(sluice::testing::receives_started() - receives == edges * microbatches);
}

BOOST_AUTO_TEST_SUITE_END()
