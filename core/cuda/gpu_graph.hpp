// Work of a stream that is queued once and then started again by one call: launching a kernel costs
// the host microseconds, and a graph of a thousand costs it about as much as one.
#pragma once

#include "core/device.hpp"

#include <cstddef>
#include <functional>
#include <memory>

namespace sluice {

class GpuGraph {
public:
    /// Of what `launches` queues on `stream`, none of which runs yet. Addresses and numbers are
    /// kept as they are given; only what lies in the GPU's memory is read anew whenever the graph
    /// runs. `launches` queues kernels and copies within the GPU's memory: no events, no copies
    /// from or to the host; and it never waits for the GPU, nor takes or frees memory of it. Throws
    /// what `launches` throws, and PeerError where CUDA cannot capture it; the stream is then as
    /// before.
    static std::unique_ptr<GpuGraph> capture(const Stream& stream,
                                             const std::function<void()>& launches);
    /// Also while it runs; what is queued is still done.
    ~GpuGraph();
    GpuGraph(const GpuGraph&) = delete;
    GpuGraph& operator=(const GpuGraph&) = delete;

    /// Brings it to the GPU, once; a graph of nothing need not go there. CUDA may wait for
    /// everything that is under way there, so not beside messages, which may need work that is not
    /// queued yet. False where the GPU has no memory left for it.
    bool make_ready(const Stream& stream);
    bool is_ready() const { return is_empty() || ready_ != nullptr; }
    /// Queues all of it, in the order in which it was captured. It must be ready.
    void launch(const Stream& stream) const;
    /// Kernels and copies.
    std::size_t num_launches() const { return num_launches_; }
    bool is_empty() const { return num_launches_ == 0; }

private:
    GpuGraph(void* captured, std::size_t num_launches)
        : captured_(captured), num_launches_(num_launches)
    {
    }

    void* captured_;        ///< cudaGraph_t; on real GPUs null once it is ready
    void* ready_ = nullptr; ///< cudaGraphExec_t
    std::size_t num_launches_;
};

} // namespace sluice
