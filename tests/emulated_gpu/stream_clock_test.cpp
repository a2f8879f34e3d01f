#include "pipeline/stream_clock.hpp"

#include "core/compute_stream.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/error.hpp"
#include "pipeline/action_recorder.hpp"
#include "tests/emulated_gpu/work_queues.hpp"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <thread>

using namespace sluice;
using testing::WorkQueue;
using testing::WorkQueues;

namespace {

constexpr std::int64_t ms = 1'000'000; ///< in nanoseconds

/// Work that takes so long, once the stream comes to it.
void queue_work(const Stream& stream, int milliseconds)
{
    WorkQueues::of_process().add(
        *static_cast<WorkQueue*>(GpuStream::of(stream).native()), "work",
        [=] { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); });
}

} // namespace

BOOST_AUTO_TEST_SUITE(stream_clock)

BOOST_AUTO_TEST_CASE(marks_are_timed_when_the_gpu_comes_to_them)
{
    const ComputeStream compute({.backend = Backend::cuda, .device = {DeviceKind::cuda, 0}});
    for (const std::uint64_t seed : {0, 1, 2, 3}) {
        WorkQueues::of_process().set_seed(seed);
        const std::int64_t before = steady_now_ns();
        StreamClock clock(compute.stream(), 3);
        clock.start();
        std::vector<std::int64_t> times;
        for (int round = 0; round < 2; ++round) { // times go on where the last reading ended
            clock.mark();
            queue_work(compute.stream(), 20);
            clock.mark();
            clock.mark();
            BOOST_TEST(clock.full());
            BOOST_CHECK_THROW(clock.mark(), InvariantError);
            for (const std::int64_t time : clock.read())
                times.push_back(time);
        }
        const ClockAlignment alignment = clock.stop();
        BOOST_REQUIRE(times.size() == 6u);
        BOOST_TEST(times[0] >= 0);
        for (std::size_t i = 1; i < times.size(); ++i)
            BOOST_TEST(times[i] >= times[i - 1]);
        BOOST_TEST(times[1] - times[0] >= 20 * ms);
        BOOST_TEST(times[4] - times[3] >= 20 * ms);
        BOOST_TEST(alignment.to_reference(times[0]) >= before - alignment.uncertainty_ns());
        BOOST_TEST(alignment.to_reference(times[5]) <=
                   steady_now_ns() + alignment.uncertainty_ns());
    }
    WorkQueues::of_process().set_seed(0);
}

BOOST_AUTO_TEST_CASE(a_recorder_follows_the_stream_and_not_the_host)
{
    const ComputeStream compute({.backend = Backend::cuda, .device = {DeviceKind::cuda, 0}});
    for (const std::size_t most_spans_per_update : {1, 2, 5, 64}) { // also more spans than marks
        ActionRecorder recorder(100, compute.stream(), most_spans_per_update);
        BOOST_TEST(recorder.follows_stream());
        for (int stretch = 0; stretch < 2; ++stretch) {
            const std::int64_t before = steady_now_ns();
            recorder.start();
            for (std::int64_t update = 1; update <= 2; ++update) {
                recorder.begin_update(update);
                recorder.begin_action(0, Activity::messages);
                recorder.mark(Activity::compute);
                queue_work(compute.stream(), 10);
                recorder.begin_action(1, Activity::compute);
                queue_work(compute.stream(), 5);
                recorder.leave_actions(Activity::optimizer);
                recorder.end_update();
            }
            recorder.stop();
            const auto& spans = recorder.spans();
            BOOST_REQUIRE(spans.size() == 14u);
            for (const RecordedUpdate& update : recorder.updates()) {
                const auto lasted = [&](std::size_t i) {
                    return spans[update.first_span + i + 1].begin_ns -
                           spans[update.first_span + i].begin_ns;
                };
                BOOST_TEST(lasted(2) >= 9 * ms); // the host's clock moves times a little
                BOOST_TEST(lasted(3) >= 4 * ms);
            }
            const std::int64_t slack = recorder.uncertainty_ns();
            for (std::size_t i = 1; i < spans.size(); ++i)
                BOOST_TEST(spans[i].begin_ns >= spans[i - 1].begin_ns);
            BOOST_TEST(spans.front().begin_ns >= before - slack);
            BOOST_TEST(spans.back().begin_ns <= steady_now_ns() + slack);
        }
    }
}

BOOST_AUTO_TEST_CASE(on_a_cpu_the_host_keeps_the_times)
{
    ActionRecorder recorder(10, Stream{}, 1);
    BOOST_TEST(!recorder.follows_stream());
    recorder.start();
    recorder.mark(Activity::compute);
    recorder.stop();
    BOOST_TEST(recorder.spans().size() == 3u);
    BOOST_TEST(recorder.uncertainty_ns() == 0);
}

BOOST_AUTO_TEST_SUITE_END()
