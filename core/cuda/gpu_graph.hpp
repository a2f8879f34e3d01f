// Work of a stream that is queued once and then started again by one call: launching a kernel costs
// the host microseconds, and a graph of a thousand costs it about as much as one.
#pragma once

#include "core/device.hpp"

#include <cstddef>
#include <functional>
#include <memory>

namespace sluice {

/// A CUDA graph, ready to run.
class GpuGraph {
public:
    /// Of what `launches` queues on `stream`, none of which runs yet. Addresses and numbers are
    /// kept as they are given; only what lies in the GPU's memory is read anew whenever the graph
    /// runs. `launches` queues kernels and copies within the GPU's memory: no events, no copies
    /// from or to the host; and it never waits for the GPU, nor takes or frees memory of it. Null
    /// where the GPU has no memory left for the graph. Throws what `launches` throws, and PeerError
    /// where CUDA cannot capture it; the stream is then as before.
    static std::unique_ptr<GpuGraph> capture(const Stream& stream,
                                             const std::function<void()>& launches);
    /// Also while it runs; what is queued is still done.
    ~GpuGraph();
    GpuGraph(const GpuGraph&) = delete;
    GpuGraph& operator=(const GpuGraph&) = delete;

    /// Queues all of it, in the order in which it was captured.
    void launch(const Stream& stream) const;
    /// Kernels and copies.
    std::size_t num_launches() const { return num_launches_; }

private:
    GpuGraph(void* native, std::size_t num_launches) : native_(native), num_launches_(num_launches)
    {
    }

    void* native_ = nullptr;
    std::size_t num_launches_ = 0;
};

} // namespace sluice
