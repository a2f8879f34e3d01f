// Stands in for everything in this folder in builds without CUDA.
#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_graph.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/cuda/memory.hpp"
#include "core/error.hpp"

#include <unistd.h>

namespace sluice {

namespace {

[[noreturn]] void refuse()
{
    throw usage_error("this build of sluice has no CUDA support", "run.device",
                      "write run.device = \"cpu\", or build with the CUDA toolkit installed");
}

} // namespace

int num_gpus() { return 0; }
std::string why_no_gpu() { return "this build of sluice has no CUDA support"; }
bool gpu_driver_is_loaded() { return access("/dev/nvidiactl", F_OK) == 0; }
GpuInfo gpu_info(int) { refuse(); }
Device use_gpu(int) { refuse(); }
std::size_t free_gpu_bytes() { refuse(); }
std::size_t used_gpu_bytes() { refuse(); }

void DeviceMemory::Release::operator()(void*) const {}
void PinnedMemory::Release::operator()(void*) const {}
DeviceMemory::DeviceMemory(std::size_t) { refuse(); }
PinnedMemory::PinnedMemory(std::size_t) { refuse(); }
void DeviceMemory::clear() const { refuse(); }

GpuStream::GpuStream(Device, StreamPriority, std::size_t) { refuse(); }
GpuStream::~GpuStream() = default;
const GpuStream& GpuStream::of(const Stream&) { refuse(); }
const DeviceMemory& GpuStream::large_workspace(std::size_t) const { refuse(); }
void GpuStream::synchronize() const { refuse(); }
void GpuStream::copy(void*, const void*, std::size_t) const { refuse(); }

std::unique_ptr<GpuGraph> GpuGraph::capture(const Stream&, const std::function<void()>&)
{
    refuse();
}
GpuGraph::~GpuGraph() = default;
bool GpuGraph::make_ready(const Stream&) { refuse(); }
void GpuGraph::launch(const Stream&) const { refuse(); }

GpuEvent::GpuEvent(EventTiming) { refuse(); }
GpuEvent::~GpuEvent() = default;
void GpuEvent::record(const Stream&) { refuse(); }
void GpuEvent::hold_back(const Stream&) const { refuse(); }
bool GpuEvent::reached() const { refuse(); }
void GpuEvent::wait() const { refuse(); }
double GpuEvent::milliseconds_since(const GpuEvent&) const { refuse(); }

} // namespace sluice
