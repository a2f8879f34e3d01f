// Missing waits are refused wherever one is possible, and nothing that is waited for.
#include "tests/emulated_gpu/stream_order.hpp"

#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_graph.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "layers/kernels/elementwise.hpp"
#include "tests/emulated_gpu/work_queues.hpp"
#include "tests/layers/kernels/cuda/block_executor.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;
using namespace sluice::testing;

namespace {

const char memory[100] = {};

MemoryAccess reads(int begin, int end)
{
    return {memory + begin, static_cast<std::size_t>(end - begin), false, "in"};
}
MemoryAccess writes(int begin, int end)
{
    return {memory + begin, static_cast<std::size_t>(end - begin), true, "out"};
}

struct TwoStreams {
    StreamOrder order;
    std::size_t first = order.add_stream(), second = order.add_stream();

    /// Whether `then` on the second stream is taken after `before` on the first.
    bool takes(const MemoryAccess& before, const MemoryAccess& then)
    {
        order.add_work(first, "Before", {before});
        return takes(then);
    }
    bool takes(const MemoryAccess& then)
    {
        try {
            order.add_work(second, "Then", {then});
            return true;
        } catch (const EmulationError&) {
            return false;
        }
    }
};

bool says(const EmulationError& error, const char* words)
{
    return std::string(error.what()).find(words) != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_SUITE(stream_order)

BOOST_AUTO_TEST_CASE(two_accesses_to_the_same_bytes_one_of_them_a_write)
{
    BOOST_TEST(TwoStreams().takes(reads(10, 20), reads(10, 20)));
    BOOST_TEST(!TwoStreams().takes(writes(10, 20), reads(10, 20)));
    BOOST_TEST(!TwoStreams().takes(reads(10, 20), writes(10, 20)));
    BOOST_TEST(!TwoStreams().takes(writes(10, 20), writes(10, 20)));
}

BOOST_AUTO_TEST_CASE(to_the_byte)
{
    for (int begin = 0; begin < 30; ++begin)
        for (int end = begin + 1; end <= 30; ++end) {
            const bool apart = end <= 10 || begin >= 20;
            BOOST_TEST(TwoStreams().takes(writes(10, 20), reads(begin, end)) == apart);
            BOOST_TEST(TwoStreams().takes(reads(10, 20), writes(begin, end)) == apart);
            TwoStreams in_pieces; // what was cut and joined before
            in_pieces.order.add_work(in_pieces.first, "Pieces", {writes(12, 14), reads(10, 13)});
            in_pieces.order.add_work(in_pieces.first, "Whole", {writes(10, 20)});
            BOOST_TEST(in_pieces.takes(reads(begin, end)) == apart);
        }
}

BOOST_AUTO_TEST_CASE(every_read_since_a_write_counts)
{
    StreamOrder order;
    const std::size_t a = order.add_stream(), b = order.add_stream(), c = order.add_stream();
    order.add_work(a, "A", {reads(0, 10)});
    const WorkDone behind_a = order.done_by(a);
    order.add_work(b, "B", {reads(5, 15)});
    order.hold_back(c, order.done_by(b));
    BOOST_CHECK_EXCEPTION(
        order.add_work(c, "C", {writes(5, 6)}), EmulationError,
        [](const auto& e) { return says(e, "C (out) writes what A (in) reads"); });
    order.hold_back(c, behind_a);
    order.add_work(c, "C", {writes(5, 6)});
    BOOST_CHECK_EXCEPTION(order.add_work(a, "A", {reads(5, 6)}), EmulationError, [](const auto& e) {
        return says(e, "A (in) reads what C (out) writes");
    });
}

BOOST_AUTO_TEST_CASE(events_carry_what_was_done_when_they_were_recorded)
{
    TwoStreams s;
    s.order.add_work(s.first, "Early", {writes(0, 10)});
    const WorkDone event = s.order.done_by(s.first);
    s.order.add_work(s.first, "Late", {writes(10, 20)});
    s.order.hold_back(s.second, event);
    BOOST_TEST(s.takes(reads(0, 10)));
    BOOST_TEST(!s.takes(reads(10, 20)));
    const std::size_t third = s.order.add_stream(); // by way of the second
    s.order.hold_back(third, s.order.done_by(s.second));
    s.order.add_work(third, "Third", {writes(0, 10)});
    BOOST_CHECK_THROW(s.order.add_work(third, "Third", {reads(10, 11)}), EmulationError);
}

BOOST_AUTO_TEST_CASE(what_lies_behind_the_end_is_as_before)
{
    TwoStreams s;
    s.order.add_work(s.first, "Whole", {writes(0, 20)});
    s.order.hold_back(s.second, s.order.done_by(s.first));
    BOOST_TEST(s.takes(writes(0, 10)));
    s.order.add_work(s.first, "Rest", {reads(10, 20)});
    const std::size_t third = s.order.add_stream();
    BOOST_CHECK_THROW(s.order.add_work(third, "Third", {reads(10, 11)}), EmulationError);
    s.order.add_work(s.first, "Rest", {writes(10, 20)});
    BOOST_CHECK_THROW(s.order.add_work(s.first, "Start", {reads(9, 10)}), EmulationError);
}

BOOST_AUTO_TEST_CASE(what_the_host_waited_for_is_done_for_all)
{
    TwoStreams s;
    s.order.add_work(s.first, "Early", {writes(0, 10)});
    s.order.host_waited(s.order.done_by(s.first));
    s.order.add_work(s.first, "Late", {writes(10, 20)});
    BOOST_TEST(s.takes(reads(0, 10)));
    BOOST_TEST(!s.takes(reads(10, 20)));
    s.order.host_waited_for_all();
    BOOST_TEST(s.takes(reads(10, 20)));
}

BOOST_AUTO_TEST_CASE(messages_of_mpi_wait_for_the_host_and_keep_others_out)
{
    TwoStreams s;
    s.order.add_work(s.first, "Work", {writes(0, 10)});
    BOOST_CHECK_THROW(s.order.begin_outside(1, "Send", reads(0, 10)), EmulationError);
    s.order.host_waited_for_all();
    s.order.begin_outside(1, "Send", reads(0, 10));
    s.order.begin_outside(2, "Receive", writes(10, 20));
    BOOST_CHECK_THROW(s.order.begin_outside(3, "Receive", writes(9, 10)), EmulationError);
    BOOST_TEST(s.takes(reads(0, 10)));
    BOOST_TEST(!s.takes(writes(0, 1)));
    BOOST_TEST(!s.takes(reads(19, 20)));
    s.order.end_outside(1);
    BOOST_TEST(s.takes(writes(0, 1)));
    s.order.end_outside(2);
    BOOST_TEST(s.takes(reads(19, 20)));
}

BOOST_AUTO_TEST_CASE(memory_is_used_until_the_host_has_waited)
{
    TwoStreams s;
    const auto used_by = [&](int begin, int end) {
        return s.order.still_used_by(memory + begin, static_cast<std::size_t>(end - begin));
    };
    BOOST_TEST(used_by(0, 100).empty());
    s.order.add_work(s.first, "Early", {writes(0, 10)});
    const WorkDone early = s.order.done_by(s.first);
    s.order.add_work(s.first, "Late", {reads(5, 20)});
    BOOST_TEST(used_by(0, 5) == "Early (out) writes");
    BOOST_TEST(used_by(19, 30) == "Late (in) reads");
    BOOST_TEST(used_by(20, 30).empty());
    s.order.hold_back(s.second, s.order.done_by(s.first)); // orders streams, and not the host
    BOOST_TEST(!used_by(0, 5).empty());
    s.order.host_waited(early);
    BOOST_TEST(used_by(0, 5).empty());
    BOOST_TEST(used_by(0, 6) == "Late (in) reads");
    s.order.host_waited_for_all();
    BOOST_TEST(used_by(0, 100).empty());
}

BOOST_AUTO_TEST_CASE(of_real_streams)
{
    const Device device = use_gpu(0);
    const GpuStream first(device), second(device);
    const DeviceMemory gpu(64);
    const PinnedMemory host(64);
    const auto clear = [&](const GpuStream& stream) {
        kernels::launch(stream.stream(),
                        kernels::Fill{.to = {gpu.data(), DType::f32, Shape{16}, device}});
    };
    const auto copy = [&](const GpuStream& stream) { stream.copy(host.data(), gpu.data(), 64); };

    clear(first);
    BOOST_CHECK_EXCEPTION(copy(second), EmulationError, [](const auto& e) {
        return says(e, "copy (source) reads what Fill (to) writes");
    });
    GpuEvent event;
    event.record(first.stream());
    event.hold_back(second.stream());
    copy(second);
    BOOST_CHECK_THROW(clear(first), EmulationError);
    second.synchronize();
    clear(first);
    BOOST_CHECK_THROW(copy(second), EmulationError);
    event.record(first.stream());
    event.wait();
    copy(second);
    second.synchronize();

    const auto graph = GpuGraph::capture(first.stream(), [&] { clear(first); });
    BOOST_REQUIRE(graph->make_ready(first.stream()));
    copy(second); // a captured kernel has not run
    BOOST_CHECK_THROW(graph->launch(first.stream()), EmulationError);
    event.record(second.stream());
    event.hold_back(first.stream());
    graph->launch(first.stream());
    BOOST_CHECK_THROW(copy(second), EmulationError);
    first.synchronize();
    second.synchronize();
}

BOOST_AUTO_TEST_SUITE_END()
