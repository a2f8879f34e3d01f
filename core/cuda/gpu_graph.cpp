#include "core/cuda/gpu_graph.hpp"

#include "core/cuda/checked_call.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/error.hpp"

#include <type_traits>
#include <utility>

namespace sluice {

namespace {

cudaStream_t native(const Stream& stream)
{
    return static_cast<cudaStream_t>(GpuStream::of(stream).native());
}

struct DestroyGraph {
    void operator()(cudaGraph_t graph) const { cudaGraphDestroy(graph); }
};
using OwnedGraph = std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, DestroyGraph>;

/// A capture that goes on: ends with the object, and is then forgotten, unless it was taken.
class Capture {
public:
    /// Calls of other threads (a save beside training) are not restricted by ours.
    explicit Capture(cudaStream_t stream) : stream_(stream)
    {
        SLUICE_CUDA_CALL(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    }
    ~Capture()
    {
        if (stream_ == nullptr)
            return;
        cudaGraph_t forgotten = nullptr;
        if (cudaStreamEndCapture(stream_, &forgotten) == cudaSuccess)
            cudaGraphDestroy(forgotten);
        cudaGetLastError(); // or the next call would report what broke the capture
    }
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;

    OwnedGraph take()
    {
        cudaGraph_t made = nullptr;
        SLUICE_CUDA_CALL(cudaStreamEndCapture(std::exchange(stream_, nullptr), &made));
        return OwnedGraph(made);
    }

private:
    cudaStream_t stream_;
};

} // namespace

std::unique_ptr<GpuGraph> GpuGraph::capture(const Stream& stream,
                                            const std::function<void()>& launches)
{
    Capture capture(native(stream));
    launches();
    OwnedGraph graph = capture.take();
    std::size_t num_launches = 0;
    SLUICE_CUDA_CALL(cudaGraphGetNodes(graph.get(), nullptr, &num_launches));
    return std::unique_ptr<GpuGraph>(new GpuGraph(graph.release(), num_launches));
}

GpuGraph::~GpuGraph()
{
    if (captured_ != nullptr)
        cudaGraphDestroy(static_cast<cudaGraph_t>(captured_));
    if (ready_ != nullptr)
        cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(ready_));
}

bool GpuGraph::make_ready(const Stream& stream)
{
    if (is_empty())
        return true;
    SLUICE_CHECK(!is_ready(), "a graph is made ready twice");
    cudaGraphExec_t made = nullptr;
    cudaError_t status =
        cudaGraphInstantiateWithFlags(&made, static_cast<cudaGraph_t>(captured_), 0);
    if (status == cudaSuccess) {
        ready_ = made;
        status = cudaGraphUpload(made, native(stream)); // or the first launch would do it
    }
    if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        return false;
    }
    check_cuda(status, "cudaGraphInstantiate or cudaGraphUpload", __FILE__, __LINE__);
    // What is ready stands by itself; kept, this would take the host's memory as long as the run.
    cudaGraphDestroy(static_cast<cudaGraph_t>(std::exchange(captured_, nullptr)));
    return true;
}

void GpuGraph::launch(const Stream& stream) const
{
    if (is_empty())
        return;
    SLUICE_CHECK(is_ready(), "a graph is launched that was not made ready");
    SLUICE_CUDA_CALL(cudaGraphLaunch(static_cast<cudaGraphExec_t>(ready_), native(stream)));
}

} // namespace sluice
