#include "tests/emulated_gpu/work_queues.hpp"

#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "tests/layers/kernels/cuda/block_executor.hpp"

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <set>
#include <string>
#include <thread>

using namespace sluice;
using namespace sluice::testing;

namespace {

constexpr std::size_t num_ints = 8, num_bytes = num_ints * sizeof(int);
constexpr std::uint64_t num_seeds = 64;

/// Two streams, memory of a GPU and of the host, with the seed.
struct Streams {
    explicit Streams(std::uint64_t seed) : device(use_gpu(0)), first(device), second(device)
    {
        WorkQueues::of_process().set_seed(seed);
        WorkQueues::of_process().refuse_missing_waits(false); // here their values are looked at
    }
    ~Streams()
    {
        first.synchronize(); // the memory goes before the streams
        second.synchronize();
        WorkQueues::of_process().set_seed(0);
        WorkQueues::of_process().refuse_missing_waits(true);
    }

    static int& front(const PinnedMemory& memory) { return *static_cast<int*>(memory.data()); }
    /// What a read without any waiting would see is not changed by it.
    int on_gpu_now()
    {
        const PinnedMemory seen(num_bytes);
        first.copy(seen.data(), memory.data(), num_bytes);
        first.synchronize();
        return front(seen);
    }

    Device device;
    GpuStream first, second;
    DeviceMemory memory{num_bytes};
    PinnedMemory sent{num_bytes}, received{num_bytes};
};

} // namespace

BOOST_AUTO_TEST_SUITE(work_queues)

BOOST_AUTO_TEST_CASE(copies_are_as_late_as_they_may)
{
    Streams s(0);
    Streams::front(s.sent) = 1;
    s.first.copy(s.memory.data(), s.sent.data(), num_bytes);
    Streams::front(s.sent) = 2; // too early: the host did not wait
    s.first.copy(s.received.data(), s.memory.data(), num_bytes);
    BOOST_TEST(Streams::front(s.received) == -1); // poison: nothing has arrived
    s.first.synchronize();
    BOOST_TEST(Streams::front(s.received) == 2);
}

BOOST_AUTO_TEST_CASE(with_a_seed_copies_are_early_or_late)
{
    std::set<int> seen;
    for (std::uint64_t seed = 1; seed <= num_seeds; ++seed) {
        Streams s(seed);
        Streams::front(s.sent) = 1;
        s.first.copy(s.memory.data(), s.sent.data(), num_bytes);
        Streams::front(s.sent) = 2;
        seen.insert(s.on_gpu_now());
    }
    BOOST_TEST((seen == std::set<int>{1, 2}));
}

BOOST_AUTO_TEST_CASE(pageable_memory_is_read_at_once_and_written_before_the_call_returns)
{
    Streams s(0);
    std::vector<int> sent(num_ints, 1), received(num_ints, 0);
    s.first.copy(s.memory.data(), sent.data(), num_bytes);
    sent.assign(num_ints, 2);
    s.first.copy(received.data(), s.memory.data(), num_bytes);
    BOOST_TEST(received == std::vector<int>(num_ints, 1));
}

BOOST_AUTO_TEST_CASE(an_event_orders_streams_and_without_one_there_is_no_order)
{
    std::set<int> ordered, unordered;
    for (std::uint64_t seed = 0; seed <= num_seeds; ++seed) {
        for (const bool with_event : {true, false}) {
            Streams s(seed);
            Streams::front(s.sent) = 5;
            s.first.copy(s.memory.data(), s.sent.data(), num_bytes);
            GpuEvent copied;
            copied.record(s.first.stream());
            if (with_event)
                copied.hold_back(s.second.stream());
            s.second.copy(s.received.data(), s.memory.data(), num_bytes);
            s.second.synchronize();
            (with_event ? ordered : unordered).insert(Streams::front(s.received));
        }
    }
    BOOST_TEST((ordered == std::set<int>{5}));
    BOOST_TEST((unordered == std::set<int>{-1, 5}));
}

BOOST_AUTO_TEST_CASE(an_event_stands_for_what_it_recorded_when_somebody_began_to_wait)
{
    Streams s(0);
    GpuEvent event;
    BOOST_TEST(event.reached()); // never recorded
    event.hold_back(s.second.stream());
    Streams::front(s.sent) = 7;
    event.record(s.first.stream());
    event.hold_back(s.second.stream()); // for nothing: the copy comes later
    s.first.copy(s.memory.data(), s.sent.data(), num_bytes);
    event.record(s.first.stream());
    s.second.copy(s.received.data(), s.memory.data(), num_bytes);
    s.second.synchronize();
    BOOST_TEST(Streams::front(s.received) == -1);
    event.wait();
    BOOST_TEST(s.on_gpu_now() == 7);
}

BOOST_AUTO_TEST_CASE(asking_often_enough_finds_an_event_reached)
{
    Streams s(0);
    GpuEvent event;
    Streams::front(s.sent) = 9;
    s.first.copy(s.received.data(), s.sent.data(), num_bytes);
    event.record(s.first.stream());
    BOOST_TEST(!event.reached());
    BOOST_TEST(Streams::front(s.received) == -1);
    int polls = 1;
    while (!event.reached() && polls < 100)
        ++polls;
    BOOST_TEST(polls < 100);
    BOOST_TEST(Streams::front(s.received) == 9);
}

BOOST_AUTO_TEST_CASE(what_a_stream_holds_is_done_before_it_goes)
{
    const Device device = use_gpu(0);
    const PinnedMemory sent(num_bytes), received(num_bytes);
    Streams::front(sent) = 3;
    {
        const GpuStream stream(device);
        stream.copy(received.data(), sent.data(), num_bytes);
        BOOST_TEST(Streams::front(received) == -1);
    }
    BOOST_TEST(Streams::front(received) == 3);
}

BOOST_AUTO_TEST_CASE(failing_work_is_named_where_the_host_waits_and_nothing_runs_behind_it)
{
    WorkQueues queues;
    WorkQueue* queue = queues.make(0);
    bool ran = false;
    queues.add(*queue, "Fault", [] { throw EmulationError("broken"); });
    queues.add(*queue, "Next", [&] { ran = true; });
    BOOST_CHECK_EXCEPTION(queues.wait_for(*queue), EmulationError, [](const auto& error) {
        const std::string text = error.what();
        return text.find("Fault") != std::string::npos && text.find("broken") != std::string::npos;
    });
    BOOST_TEST(!ran);
    BOOST_CHECK_THROW(queues.wait_for(*queue), EmulationError);
}

BOOST_AUTO_TEST_CASE(what_waits_for_another_process_holds_up_its_stream_alone)
{
    WorkQueues queues;
    WorkQueue *held = queues.make(0), *other = queues.make(0);
    bool there = false;
    int ran = 0;
    queues.add(
        *held, "Receive", [&] { ran += 1; }, [&] { return there; });
    queues.add(*other, "Work", [&] { ran += 10; });
    queues.wait_for(*other);
    BOOST_TEST(ran == 10);
    // What others may be waiting for runs while the host waits for them.
    queues.add(
        *other, "Send", [&] { there = true; }, [] { return true; });
    queues.wait_for(*held);
    BOOST_TEST(ran == 11);
    BOOST_TEST(there);
}

BOOST_AUTO_TEST_CASE(asking_never_waits_for_another_process)
{
    WorkQueues queues;
    WorkQueue* queue = queues.make(0);
    bool came = false, ran = false;
    queues.add(*queue, "Before", [&] { ran = true; });
    queues.add(
        *queue, "Message", [] {}, [&] { return came; });
    const auto mark = queues.mark(*queue);
    for (int i = 0; i < 20; ++i)
        BOOST_TEST(!queues.poll(*mark));
    BOOST_TEST(ran);
    came = true;
    BOOST_TEST(queues.poll(*mark));
}

BOOST_AUTO_TEST_CASE(what_others_may_wait_for_needs_no_host)
{
    WorkQueues& queues = WorkQueues::of_process();
    queues.run_by_itself();
    WorkQueue *computing = queues.make(0), *sending = queues.make(0);
    std::atomic<int> ran{0};
    queues.add(*computing, "Work", [&] { ran += 1; });
    queues.hold_back(*sending, queues.mark(*computing));
    queues.add(
        *sending, "Send", [&] { ran += 10; }, [] { return true; });
    queues.add(*computing, "More work", [&] { ran += 100; });
    for (int i = 0; i < 1000 && ran < 11; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    BOOST_TEST(ran == 11); // and nobody waits for more work
    queues.remove(sending);
    queues.remove(computing);
    BOOST_TEST(ran == 111);
}

BOOST_AUTO_TEST_CASE(code_is_not_used_for_the_first_time_beside_a_message)
{
    WorkQueues queues;
    WorkQueue *computing = queues.make(0), *messages = queues.make(0);
    bool there = false;
    queues.use(0, "known");
    queues.add(
        *messages, "Receive", [] {}, [&] { return there; });
    queues.use(0, "known");
    queues.use(1, "new"); // on another GPU
    queues.refuse_beside_messages(1, "loading");
    const auto names_both = [](const EmulationError& error) {
        const std::string text = error.what();
        return text.find("new") != std::string::npos && text.find("Receive") != std::string::npos;
    };
    BOOST_CHECK_EXCEPTION(queues.use(0, "new"), EmulationError, names_both);
    BOOST_CHECK_THROW(queues.use(0, "new"), EmulationError); // it was not loaded
    BOOST_CHECK_THROW(queues.refuse_beside_messages(0, "loading"), EmulationError);
    there = true;
    queues.wait_for(*messages);
    queues.add(*computing, "Work", [] {}); // no message
    queues.use(0, "new");
    queues.refuse_beside_messages(0, "loading");
}

BOOST_AUTO_TEST_SUITE_END()
