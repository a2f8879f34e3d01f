#include "pipeline/host_pace.hpp"

#include "core/compute_stream.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "tests/emulated_gpu/work_queues.hpp"

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <thread>

using namespace sluice;
using testing::WorkQueue;
using testing::WorkQueues;

namespace {

/// A GPU that is busy with its first piece of work until somebody says so.
struct BusyGpu {
    ComputeStream compute{{.backend = Backend::cuda, .device = {DeviceKind::cuda, 0}}};
    std::atomic<bool> first_is_done{false};

    void queue_work()
    {
        WorkQueues::of_process().add(
            *static_cast<WorkQueue*>(GpuStream::of(compute.stream()).native()), "a step", [] {},
            [this] { return first_is_done.load(); });
    }
    ~BusyGpu()
    {
        first_is_done = true;
        synchronize(compute.stream());
    }
};

} // namespace

BOOST_AUTO_TEST_SUITE(host_pace)

BOOST_AUTO_TEST_CASE(the_host_goes_ahead_by_so_many_steps_and_no_further)
{
    BusyGpu gpu;
    HostPace pace(gpu.compute.stream(), 2);
    for (int step = 0; step < 2; ++step) {
        gpu.queue_work();
        pace.step(true);
    }
    BOOST_TEST(!gpu.first_is_done);
    std::thread ends([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        gpu.first_is_done = true;
    });
    gpu.queue_work();
    pace.step(true);
    BOOST_TEST(gpu.first_is_done);
    ends.join();
}

BOOST_AUTO_TEST_CASE(it_goes_on_where_nothing_depends_on_that)
{
    BusyGpu gpu;
    HostPace pace(gpu.compute.stream(), 2);
    for (int step = 0; step < 5; ++step) {
        gpu.queue_work();
        pace.step(false);
    }
    BOOST_TEST(!gpu.first_is_done);
}

BOOST_AUTO_TEST_CASE(on_cpus_there_is_nothing_to_keep_to)
{
    HostPace pace(Stream{.backend = Backend::cpu}, 2);
    for (int step = 0; step < 5; ++step)
        pace.step(true);
}

BOOST_AUTO_TEST_SUITE_END()
