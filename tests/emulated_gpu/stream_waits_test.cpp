#include "pipeline/transport/stream_waits.hpp"

#include "core/compute_stream.hpp"
#include "core/error.hpp"
#include "core/host_ring.hpp"
#include "pipeline/compute_clock.hpp"
#include "pipeline/stream_clock.hpp"
#include "pipeline/transport/transport_over.hpp"
#include "tests/emulated_gpu/work_queues.hpp"

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <deque>
#include <functional>

using namespace sluice;
using testing::WorkQueue;
using testing::WorkQueues;

namespace {

/// Work that another process holds up until `comes`.
void queue(const Stream& stream, const std::atomic<bool>& comes)
{
    WorkQueues::of_process().add(
        *static_cast<WorkQueue*>(GpuStream::of(stream).native()), "held up", [] {},
        [&comes] { return comes.load(); });
}

RankWait receiving_from(int rank) { return {.kind = WaitKind::receiving, .partner = rank}; }
RankWait sending_to(int rank) { return {.kind = WaitKind::sending, .partner = rank}; }
RankWait in_group(std::uint32_t number)
{
    return {.kind = WaitKind::collective, .collective = {.count = 2, .number = number}};
}

/// Carries nothing: it is called while the host waits.
class Onlooker final : public TransportOver {
public:
    explicit Onlooker(Transport& host, std::function<void()> called)
        : TransportOver(host), called_(std::move(called))
    {
    }
    MessageId send(const TensorView&, int, MessageLabel) override { return 0; }
    MessageId receive(const TensorView&, int, MessageLabel) override { return 0; }
    void wait(MessageId) override {}
    bool is_done(MessageId) override { return true; }
    void progress() override { called_(); }

private:
    std::function<void()> called_;
};

struct Gpu {
    ~Gpu() { waits.remove(onlooker); }
    Stream stream() const { return compute.stream(); }
    RankState state() const { return activity.state(); }
    bool waits_for_nobody() const { return state().wait == WaitKind::none; }
    bool waits_for(const RankWait& whom) const
    {
        return !state().presumed && state().wait == whom.kind && state().partner == whom.partner;
    }
    bool may_wait_for(const RankWait& whom) const
    {
        return state().presumed && state().wait == whom.kind && state().partner == whom.partner;
    }
    /// A message that comes when `comes` says so, on a stream of its own; the computing stream
    /// waits for it.
    void wait_for_message(const std::atomic<bool>& comes, const RankWait& whom)
    {
        messages.push_back(std::make_unique<GpuStream>(stream().device, StreamPriority::high, 0));
        const Stream own = messages.back()->stream();
        queue(own, comes);
        GpuEvent done;
        done.record(own);
        waits.hold_back(done, whom);
    }

    ComputeStream compute{{.backend = Backend::cuda, .device = {DeviceKind::cuda, 0}}};
    std::deque<std::unique_ptr<GpuStream>> messages;
    RankActivity activity;
    StreamWaits waits{compute.stream(), &activity};
    std::unique_ptr<Transport> alone = make_in_process_transport();
    std::function<void()> on_look;
    int num_looks = 0;
    Onlooker onlooker{*alone, [this] {
                          SLUICE_CHECK(++num_looks < 100'000, "the wait does not end");
                          if (on_look)
                              on_look();
                      }};
    bool added = (waits.add(onlooker), true);
};

} // namespace

BOOST_AUTO_TEST_SUITE(stream_waits)

BOOST_AUTO_TEST_CASE(a_host_that_waits_says_whom_its_gpu_has_come_to)
{
    std::atomic<bool> computed = false, first = false, second = false;
    Gpu gpu;
    queue(gpu.stream(), computed);
    gpu.wait_for_message(first, receiving_from(3));
    gpu.wait_for_message(second, sending_to(5));
    BOOST_TEST(gpu.may_wait_for(receiving_from(3)));
    // A spot is left when the state has been the same for some looks, without a change.
    std::uint64_t changes = 0;
    int since = 0;
    const auto stands = [&] {
        since = std::exchange(changes, gpu.state().changes) == changes ? since + 1 : 0;
        return since >= 20;
    };
    std::deque<std::function<bool()>> spots{
        [&] { return gpu.waits_for_nobody() && stands() && (computed = true); },
        [&] { return gpu.waits_for(receiving_from(3)) && stands() && (first = true); },
        [&] { return gpu.waits_for(sending_to(5)) && stands() && (second = true); }};
    gpu.on_look = [&] {
        if (!spots.empty() && spots.front()())
            spots.pop_front();
    };
    synchronize(gpu.stream());
    BOOST_TEST(spots.empty());
    BOOST_TEST(gpu.waits_for_nobody());
}

BOOST_AUTO_TEST_CASE(what_the_stream_has_come_past_is_forgotten_between_other_work)
{
    std::atomic<bool> first = false, second = false;
    Gpu gpu;
    gpu.wait_for_message(first, receiving_from(3));
    gpu.wait_for_message(second, receiving_from(4));
    for (int i = 0; i < 10; ++i)
        gpu.waits.follow();
    BOOST_TEST(gpu.may_wait_for(receiving_from(3)));
    first = true;
    for (int i = 0; i < 10; ++i)
        gpu.waits.follow();
    BOOST_TEST(gpu.may_wait_for(receiving_from(4)));
    second = true;
    for (int i = 0; i < 10; ++i)
        gpu.waits.follow();
    BOOST_TEST(gpu.waits_for_nobody());
    BOOST_TEST(gpu.num_looks == 0);
}

BOOST_AUTO_TEST_CASE(every_wait_of_the_host_is_attended)
{
    const std::vector<std::function<void(Gpu&)>> ways{
        [](Gpu& gpu) { synchronize(gpu.stream()); },
        [](Gpu& gpu) {
            HostRing ring(gpu.stream(), 64);
            ring.next();
            ring.mark();
            ring.wait(1);
        },
        [](Gpu& gpu) {
            const DeviceMemory memory(64);
            HostCopy(gpu.stream(), {memory.data(), DType::f32, {1}, gpu.stream().device});
        },
        [](Gpu& gpu) {
            ComputeClock clock(gpu.stream(), 1);
            clock.start();
            clock.stop();
            clock.seconds();
        },
        [](Gpu& gpu) { StreamClock(gpu.stream(), 1).start(); },
    };
    for (const auto& wait : ways) {
        std::atomic<bool> comes = false;
        Gpu gpu;
        gpu.wait_for_message(comes, receiving_from(3));
        gpu.on_look = [&] { comes = comes || gpu.waits_for(receiving_from(3)); };
        wait(gpu);
        BOOST_TEST(gpu.num_looks > 0);
    }
}

BOOST_AUTO_TEST_CASE(what_is_found_while_the_host_waits_ends_the_wait)
{
    std::atomic<bool> comes = false;
    Gpu gpu;
    gpu.wait_for_message(comes, receiving_from(3));
    gpu.on_look = [&] {
        if (gpu.num_looks == 5)
            throw PeerError("found");
    };
    BOOST_CHECK_THROW(synchronize(gpu.stream()), PeerError);
    BOOST_TEST(gpu.waits_for_nobody());
    comes = true;
}

// Where there is room, hold_back() never waits.
BOOST_AUTO_TEST_CASE(the_host_waits_when_it_is_too_many_messages_ahead)
{
    std::deque<std::atomic<bool>> comes;
    Gpu gpu;
    const auto wait_for_one_more = [&] {
        comes.emplace_back(false);
        gpu.wait_for_message(comes.back(), receiving_from(3));
    };
    while (comes.size() < StreamWaits::most)
        wait_for_one_more();
    BOOST_TEST(gpu.num_looks == 0);
    gpu.on_look = [&] { comes.front() = gpu.num_looks > 3; };
    wait_for_one_more();
    BOOST_TEST(gpu.num_looks > 3);
    gpu.on_look = {};
    for (auto& each : comes)
        each = true;
    synchronize(gpu.stream());
}

BOOST_AUTO_TEST_CASE(a_group_counts_once)
{
    std::atomic<bool> comes = false;
    Gpu gpu;
    for (std::size_t i = 0; i < 2 * StreamWaits::most; ++i)
        gpu.wait_for_message(comes, in_group(i < 9 ? 1 : 2));
    BOOST_TEST(gpu.num_looks == 0);
    BOOST_TEST(gpu.state().collective.number == 1u);
    gpu.on_look = [&] {
        comes = comes || (gpu.state().collective.number == 1 && !gpu.state().presumed);
    };
    synchronize(gpu.stream());
    BOOST_TEST(gpu.waits_for_nobody());
}

BOOST_AUTO_TEST_SUITE_END()
