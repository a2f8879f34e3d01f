// core/cuda/gpu.hpp, memory.hpp and gpu_stream.hpp on emulated GPUs: these definitions take the
// place of the library's at link time.
#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/cuda/memory.hpp"
#include "core/driver_version.hpp"
#include "core/error.hpp"
#include "tests/emulated_gpu/emulated_memory.hpp"
#include "tests/emulated_gpu/work_queues.hpp"
#include "tests/layers/kernels/cuda/block_executor.hpp"

#include <cstring>
#include <exception>
#include <string>
#include <vector>

namespace sluice {

using testing::current_emulated_gpu;
using testing::EmulatedMemory;
using testing::EmulationError;
using testing::Mark;
using testing::WorkQueue;
using testing::WorkQueues;

namespace {

std::string mebibytes(std::size_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

void require_gpu(int index)
{
    if (num_gpus() == 0)
        throw usage_error("this machine has no usable NVIDIA GPU (" + why_no_gpu() + ")",
                          "run.device",
                          "write run.device = \"cpu\", or run where a GPU and its driver are");
    if (index < 0 || index >= num_gpus())
        throw usage_error("there is no GPU " + std::to_string(index) + "; this process sees " +
                              std::to_string(num_gpus()),
                          "CUDA_VISIBLE_DEVICES",
                          "start no more ranks per machine than it has GPUs, or show it more");
}

WorkQueue& queue_of(const Stream& stream)
{
    return *static_cast<WorkQueue*>(GpuStream::of(stream).native());
}

/// Of the memory that this thread takes next.
thread_local testing::FreshMemory fresh = testing::FreshMemory::poisoned;

void release(void* memory)
{
    if (const auto block = EmulatedMemory::of_process().find(memory, 0)) // it may have no bytes
        WorkQueues::of_process().begin_release(memory, block->num_bytes);
    EmulatedMemory::of_process().release(memory);
}

/// What a GpuEvent's `native` is.
struct Event {
    int gpu;
    EventTiming timing;
    std::shared_ptr<Mark> mark; ///< null until recorded
};
Event& event_of(void* native) { return *static_cast<Event*>(native); }

} // namespace

int num_gpus()
{
    return testing::emulated_old_driver() > 0
               ? 0
               : static_cast<int>(testing::visible_emulated_gpus().size());
}

std::string why_no_gpu()
{
    if (num_gpus() > 0)
        return "";
    if (testing::num_emulated_gpus() == 0)
        return "no NVIDIA driver is loaded";
    if (const int driver = testing::emulated_old_driver(); driver > 0)
        return why_driver_is_too_old(driver, 13000);
    return "no GPU is visible";
}

bool gpu_driver_is_loaded() { return testing::num_emulated_gpus() > 0; }

GpuInfo gpu_info(int index)
{
    require_gpu(index);
    const int number = testing::visible_emulated_gpus()[static_cast<std::size_t>(index)];
    const testing::EmulatedKind kind = testing::kind_of_emulated_gpu(number);
    return {.name = kind.name,
            .uuid = "emulated-" + std::to_string(number),
            .pci_bus = testing::emulated_pci_bus(number),
            .major = kind.major,
            .minor = kind.minor,
            .num_multiprocessors = 108,
            .total_bytes = testing::emulated_gpu_bytes(),
            .shared_bytes_per_block = std::size_t{99} << 10}; // sm_120's, the least
}

Device use_gpu(int index)
{
    require_gpu(index);
    current_emulated_gpu() = index;
    return {DeviceKind::cuda, index};
}

std::size_t free_gpu_bytes()
{
    require_gpu(0);
    return EmulatedMemory::of_process().free_bytes(current_emulated_gpu());
}

std::size_t used_gpu_bytes() { return testing::emulated_gpu_bytes() - free_gpu_bytes(); }

void DeviceMemory::Release::operator()(void* memory) const { release(memory); }
void PinnedMemory::Release::operator()(void* memory) const
{
    WorkQueues::of_process().begin_unlock();
    release(memory);
}

DeviceMemory::DeviceMemory(std::size_t num_bytes) : num_bytes_(num_bytes)
{
    require_gpu(0);
    WorkQueues::of_process().refuse_while_capturing("taking memory");
    owned_.reset(EmulatedMemory::of_process().allocate(current_emulated_gpu(), num_bytes, fresh));
    if (!owned_)
        throw usage_error(
            "cannot reserve " + mebibytes(num_bytes) + " on the GPU, which has " +
                mebibytes(free_gpu_bytes()) + " free",
            "", "take a smaller micro-batch or a smaller model; in training, or more stages");
}

void DeviceMemory::clear() const
{
    WorkQueues::of_process().wait_for_all();
    const testing::DeviceAccess access;
    std::memset(data(), 0, num_bytes_);
}

PinnedMemory::PinnedMemory(std::size_t num_bytes) : num_bytes_(num_bytes)
{
    require_gpu(0);
    WorkQueues::of_process().refuse_while_capturing("taking memory");
    owned_.reset(EmulatedMemory::of_process().allocate_pinned(num_bytes));
    if (!owned_)
        throw usage_error("cannot lock " + mebibytes(num_bytes) + " of this machine's memory", "",
                          "raise the limit of locked memory (ulimit -l), or use fewer ranks here");
}

GpuStream::GpuStream(Device device, StreamPriority, std::size_t workspace_bytes)
    : device_(use_gpu(device.index))
{
    if (workspace_bytes > 0) {
        fresh = testing::FreshMemory::untouched; // each operation poisons what it asks for
        workspace_ = DeviceMemory(workspace_bytes);
        fresh = testing::FreshMemory::poisoned;
    }
    native_ = WorkQueues::of_process().make(device_.index);
}

/// Waits where the real one does.
GpuStream::~GpuStream()
{
    const bool has_workspace = workspace_.num_bytes() > 0 || !large_workspaces_.empty();
    if (has_workspace && std::uncaught_exceptions() == 0) {
        try {
            synchronize();
        } catch (const std::exception&) {
            // Its work has failed and is dropped.
        }
    }
    WorkQueues::of_process().remove(static_cast<WorkQueue*>(native_));
}

const GpuStream& GpuStream::of(const Stream& stream)
{
    if (stream.native == nullptr)
        use_gpu(stream.device.index);
    SLUICE_CHECK(stream.native != nullptr && stream.backend == Backend::cuda,
                 "not the stream of a GpuStream");
    return *static_cast<const GpuStream*>(stream.native);
}

const DeviceMemory& GpuStream::large_workspace(std::size_t num_bytes) const
{
    if (large_workspaces_.empty() || large_workspaces_.back().num_bytes() < num_bytes)
        large_workspaces_.emplace_back(num_bytes);
    return large_workspaces_.back();
}

void GpuStream::synchronize() const
{
    WorkQueues::of_process().wait_for(*static_cast<WorkQueue*>(native_));
}

/// As CUDA: from pageable memory of the host bytes are taken at once, into it the host waits.
void GpuStream::copy(void* to, const void* from, std::size_t num_bytes) const
{
    if (num_bytes == 0)
        return;
    const EmulatedMemory& memory = EmulatedMemory::of_process();
    WorkQueues& queues = WorkQueues::of_process();
    auto& queue = *static_cast<WorkQueue*>(native_);
    const auto target = memory.find(to, num_bytes);
    const auto source = memory.find(from, num_bytes);
    const auto on_gpu = [](const auto& block) { return block && block->gpu >= 0; };
    if (queues.captures(queue) && !(on_gpu(target) && on_gpu(source)))
        throw EmulationError("a copy from or to the host on a stream that is captured: the address "
                             "would stay the same for ever");
    testing::MemoryAccesses accesses;
    if (target)
        accesses.push_back({to, num_bytes, true, "target"});
    if (source)
        accesses.push_back({from, num_bytes, false, "source"});
    if (source) {
        queues.add(
            queue, "copy", [=] { std::memcpy(to, from, num_bytes); }, {}, accesses);
    } else {
        const auto* bytes = static_cast<const std::byte*>(from);
        queues.add(
            queue, "copy",
            [to, taken = std::vector(bytes, bytes + num_bytes)] {
                std::memcpy(to, taken.data(), taken.size());
            },
            {}, accesses);
    }
    if (!target)
        queues.wait_for(queue);
}

GpuEvent::GpuEvent(EventTiming timing)
{
    require_gpu(0);
    native_ = new Event{current_emulated_gpu(), timing, nullptr};
}

GpuEvent::~GpuEvent() { delete static_cast<Event*>(native_); }

void GpuEvent::record(const Stream& stream)
{
    Event& event = event_of(native_);
    WorkQueue& queue = queue_of(stream);
    if (event.gpu != queue.gpu())
        throw EmulationError("an event made on GPU " + std::to_string(event.gpu) +
                             " is recorded on a stream of GPU " + std::to_string(queue.gpu()));
    event.mark = WorkQueues::of_process().mark(queue);
}

void GpuEvent::hold_back(const Stream& stream) const
{
    if (const auto& mark = event_of(native_).mark)
        WorkQueues::of_process().hold_back(queue_of(stream), mark);
}

bool GpuEvent::reached() const
{
    const auto& mark = event_of(native_).mark;
    return !mark || WorkQueues::of_process().poll(*mark);
}

void GpuEvent::wait() const
{
    if (const auto& mark = event_of(native_).mark)
        WorkQueues::of_process().wait_for(*mark);
}

double GpuEvent::milliseconds_since(const GpuEvent& earlier) const
{
    for (const Event& event : {event_of(earlier.native_), event_of(native_)})
        if (event.timing == EventTiming::disabled)
            throw EmulationError("the time between two events, one of which keeps none");
    const auto &from = event_of(earlier.native_).mark, &to = event_of(native_).mark;
    if (!from || !to || !from->reached || !to->reached)
        throw EmulationError("the time between two events, one of which is not reached");
    return std::chrono::duration<double, std::milli>(to->time - from->time).count();
}

} // namespace sluice
