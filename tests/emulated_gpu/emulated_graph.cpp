// core/cuda/gpu_graph.hpp on emulated GPUs, and how their streams are captured.
#include "core/cuda/gpu_graph.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/error.hpp"
#include "tests/emulated_gpu/emulated_memory.hpp"
#include "tests/emulated_gpu/work_queues.hpp"
#include "tests/layers/kernels/cuda/block_executor.hpp"

#include <utility>

namespace sluice {

namespace testing {

void WorkQueues::begin_capture(WorkQueue& queue)
{
    const std::scoped_lock lock(mutex_);
    if (queue.capture_)
        throw EmulationError("a stream is captured twice at once");
    queue.capture_ = CapturedWork{.by = std::this_thread::get_id(), .work = {}, .lost_by = {}};
}

std::vector<Work> WorkQueues::end_capture(WorkQueue& queue)
{
    const std::scoped_lock lock(mutex_);
    const CapturedWork capture = *std::exchange(queue.capture_, std::nullopt);
    if (!capture.lost_by.empty())
        throw EmulationError("a capture was lost by " + capture.lost_by);
    return capture.work;
}

void WorkQueues::forget_capture(WorkQueue& queue) noexcept
{
    const std::scoped_lock lock(mutex_);
    queue.capture_.reset();
}

bool WorkQueues::captures(const WorkQueue& queue)
{
    const std::scoped_lock lock(mutex_);
    return queue.capture_.has_value();
}

void WorkQueues::refuse_while_capturing(std::string_view what)
{
    const std::scoped_lock lock(mutex_);
    for (const auto& queue : queues_)
        if (queue->capture_ && queue->capture_->by == std::this_thread::get_id()) {
            queue->capture_->lost_by = what;
            throw EmulationError("this thread captures a stream: no " + std::string(what));
        }
}

void WorkQueues::spoil_captures(std::string_view by) noexcept
{
    const std::scoped_lock lock(mutex_);
    for (const auto& queue : queues_)
        if (queue->capture_ && queue->capture_->by == std::this_thread::get_id())
            queue->capture_->lost_by = by;
}

void WorkQueues::keep(CapturedWork& capture, Work work)
{
    const char* forbidden = nullptr;
    if (capture.by != std::this_thread::get_id())
        forbidden = "work of another thread";
    else if (work.reaches || work.waits_for)
        forbidden = "an event"; // CUDA would draw other streams into the capture, or refuse
    else if (work.ready)
        forbidden = "a message";
    if (forbidden != nullptr) {
        capture.lost_by = forbidden;
        throw EmulationError(std::string(forbidden) + " on a stream that is captured");
    }
    capture.work.push_back(std::move(work));
}

void WorkQueues::add_again(WorkQueue& queue, const std::vector<Work>& work)
{
    for (const Work& piece : work)
        add(queue, piece.name, piece.body, {}, piece.accesses);
}

} // namespace testing

using testing::EmulatedMemory;
using testing::EmulationError;
using testing::WorkQueue;
using testing::WorkQueues;

namespace {

/// What a GpuGraph's `captured_` is.
struct Captured {
    int gpu;
    std::vector<testing::Work> work;
};
/// Of what a GpuGraph's `ready_` is; nobody knows how much a real one takes.
constexpr std::size_t bytes_per_launch = 1024;

WorkQueue& queue_of(const Stream& stream)
{
    return *static_cast<WorkQueue*>(GpuStream::of(stream).native());
}

} // namespace

std::unique_ptr<GpuGraph> GpuGraph::capture(const Stream& stream,
                                            const std::function<void()>& launches)
{
    WorkQueues& queues = WorkQueues::of_process();
    WorkQueue& queue = queue_of(stream);
    queues.begin_capture(queue);
    try {
        launches();
    } catch (...) {
        queues.forget_capture(queue);
        throw;
    }
    auto captured = std::make_unique<Captured>(Captured{queue.gpu(), queues.end_capture(queue)});
    const std::size_t num_launches = captured->work.size();
    return std::unique_ptr<GpuGraph>(new GpuGraph(captured.release(), num_launches));
}

GpuGraph::~GpuGraph()
{
    delete static_cast<Captured*>(captured_);
    if (ready_ != nullptr)
        EmulatedMemory::of_process().release(ready_);
}

bool GpuGraph::make_ready(const Stream& stream)
{
    if (is_empty())
        return true;
    SLUICE_CHECK(!is_ready(), "a graph is made ready twice");
    const int gpu = queue_of(stream).gpu();
    WorkQueues::of_process().refuse_beside_messages(gpu, "a graph is made ready");
    ready_ = EmulatedMemory::of_process().allocate(gpu, (num_launches_ + 1) * bytes_per_launch,
                                                   testing::FreshMemory::untouched);
    return is_ready();
}

void GpuGraph::launch(const Stream& stream) const
{
    SLUICE_CHECK(is_ready(), "a graph is launched that was not made ready");
    const auto& captured = *static_cast<const Captured*>(captured_);
    WorkQueue& queue = queue_of(stream);
    if (queue.gpu() != captured.gpu)
        throw EmulationError("a graph of GPU " + std::to_string(captured.gpu) +
                             " is launched on a stream of GPU " + std::to_string(queue.gpu()));
    if (WorkQueues::of_process().captures(queue))
        throw EmulationError("a graph is launched on a stream that is captured");
    WorkQueues::of_process().add_again(queue, captured.work);
}

} // namespace sluice
