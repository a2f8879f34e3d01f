// By way of NVIDIA's cudnn-frontend. It alone includes it: half a minute to compile.
#include "layers/kernels/cuda/cudnn/cudnn_plans.hpp"

#include "core/cuda/gpu.hpp"
#include "core/error.hpp"
#include "layers/kernels/cuda/cudnn/cudnn_library.hpp"

#include <cudnn_frontend.h>

#include <cmath>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <unordered_map>

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr; // of cuDNN's library, where the frontend looks functions up
}

namespace sluice::kernels {

namespace {

namespace fe = cudnn_frontend;

std::string text_of(const CudnnPlanKey& key)
{
    std::ostringstream text;
    text << "attention " << (key.pass == AttentionPass::forward ? "forward" : "backward") << " on "
         << key.sequences << " x " << key.positions << " tokens, " << key.heads << " heads of "
         << key.head_dim;
    return text.str();
}

constexpr std::int64_t uid_of(CudnnTensor tensor) { return static_cast<std::int64_t>(tensor); }

struct BuiltPlan {
    CudnnPlan known;
    fe::graph::Graph graph;
    std::unordered_map<std::int64_t, void*> places; ///< by CudnnTensor; for every run anew
};

/// Of the frontend, while a plan is made.
void check(fe::error_t status, const char* call, const CudnnPlanKey& key)
{
    if (!status.is_good())
        throw cudnn_refuses(text_of(key), std::string(call) + ": " + status.get_message());
}

void check(cudnnStatus_t status, const char* call)
{
    if (status != CUDNN_STATUS_SUCCESS)
        throw PeerError(std::string("the GPU failed: ") + fe::detail::get_error_string(status) +
                        " in " + call);
}

class Tensors {
public:
    Tensors(fe::graph::Graph& graph, const CudnnPlanKey& key) : graph_(graph), key_(key) {}

    /// [b,h,t,d] of a tensor whose rows of positions hold `parts` times all heads.
    std::shared_ptr<fe::graph::Tensor_attributes> heads(CudnnTensor which, const char* name,
                                                        int parts) const
    {
        return graph_.tensor(describe(fe::graph::Tensor_attributes(), which, name, parts));
    }
    void is_output(fe::graph::Tensor_attributes& made, CudnnTensor which, const char* name,
                   int parts) const
    {
        describe(made, which, name, parts).set_output(true);
    }
    fe::graph::Tensor_attributes& describe_logsumexp(fe::graph::Tensor_attributes&& tensor) const
    {
        return describe_logsumexp(tensor);
    }
    fe::graph::Tensor_attributes& describe_logsumexp(fe::graph::Tensor_attributes& tensor) const
    {
        return tensor.set_uid(uid_of(CudnnTensor::logsumexp))
            .set_name("logsumexp")
            .set_data_type(fe::DataType_t::FLOAT)
            .set_dim({key_.sequences, key_.heads, key_.positions, 1})
            .set_stride({key_.heads * key_.positions, key_.positions, 1, 1});
    }

private:
    template <class Tensor>
    fe::graph::Tensor_attributes& describe(Tensor&& tensor, CudnnTensor which, const char* name,
                                           int parts) const
    {
        const std::int64_t row = parts * key_.all_heads * key_.head_dim;
        return tensor.set_uid(uid_of(which))
            .set_name(name)
            .set_data_type(fe::DataType_t::BFLOAT16)
            .set_dim({key_.sequences, key_.heads, key_.positions, key_.head_dim})
            .set_stride({key_.positions * row, key_.head_dim, row, 1});
    }

    fe::graph::Graph& graph_;
    const CudnnPlanKey& key_;
};

void describe_forward(fe::graph::Graph& graph, const CudnnPlanKey& key)
{
    using enum CudnnTensor;
    const Tensors tensors(graph, key);
    const float scale = 1.0F / std::sqrt(static_cast<float>(key.head_dim));
    const auto [made, stats] =
        graph.sdpa(tensors.heads(q, "q", 3), tensors.heads(k, "k", 3), tensors.heads(v, "v", 3),
                   fe::graph::SDPA_attributes()
                       .set_name("forward")
                       .set_generate_stats(true)
                       .set_causal_mask(true)
                       .set_attn_scale(scale));
    tensors.is_output(*made, out, "out", 1);
    tensors.describe_logsumexp(*stats).set_output(true);
}

void describe_backward(fe::graph::Graph& graph, const CudnnPlanKey& key)
{
    using enum CudnnTensor;
    const Tensors tensors(graph, key);
    const float scale = 1.0F / std::sqrt(static_cast<float>(key.head_dim));
    const auto [of_q, of_k, of_v] = graph.sdpa_backward(
        tensors.heads(q, "q", 3), tensors.heads(k, "k", 3), tensors.heads(v, "v", 3),
        tensors.heads(out, "out", 1), tensors.heads(dout, "dout", 1),
        graph.tensor(tensors.describe_logsumexp(fe::graph::Tensor_attributes())),
        fe::graph::SDPA_backward_attributes()
            .set_name("backward")
            .set_causal_mask(true)
            .set_attn_scale(scale)
            .set_deterministic_algorithm(true));
    tensors.is_output(*of_q, dq, "dq", 3);
    tensors.is_output(*of_k, dk, "dk", 3);
    tensors.is_output(*of_v, dv, "dv", 3);
}

/// The first of cuDNN's own order that it can build: nothing is timed.
void build(BuiltPlan& plan, cudnnHandle_t handle, const CudnnPlanKey& key)
{
    fe::graph::Graph& graph = plan.graph;
    graph.set_io_data_type(fe::DataType_t::BFLOAT16)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    // The frontend would ask the runtime library that it loaded, which is not the one in use here.
    const GpuInfo gpu = gpu_info(key.device);
    graph.set_sm_version(10 * gpu.major + gpu.minor);
    key.pass == AttentionPass::forward ? describe_forward(graph, key)
                                       : describe_backward(graph, key);
    check(graph.validate(), "validate", key);
    check(graph.build_operation_graph(handle), "build_operation_graph", key);
    check(graph.create_execution_plans({fe::HeurMode_t::A}), "create_execution_plans", key);
    graph.deselect_numeric_notes({fe::NumericalNote_t::NONDETERMINISTIC});
    check(graph.check_support(), "check_support", key);
    check(graph.build_plans(fe::BuildPlanPolicy_t::HEURISTICS_CHOICE), "build_plans", key);
    check(graph.get_workspace_size(plan.known.workspace_bytes), "get_workspace_size", key);
    check(graph.get_plan_name(plan.known.name), "get_plan_name", key);
}

/// Lives as long as the process: cuDNN's objects must not be given back after the driver has ended.
class Plans {
public:
    static Plans& all()
    {
        static Plans& plans = *new Plans;
        return plans;
    }

    /// The reference holds for good.
    BuiltPlan& plan(const CudnnPlanKey& key)
    {
        const std::scoped_lock lock(mutex_);
        auto& plan = plans_[key];
        if (plan)
            return *plan;
        auto made = std::make_unique<BuiltPlan>();
        try {
            build(*made, handle_of(key.device), key);
        } catch (const std::runtime_error& error) {
            if (dynamic_cast<const UserError*>(&error) || dynamic_cast<const PeerError*>(&error))
                throw;
            throw cudnn_refuses(text_of(key), error.what()); // the frontend throws, too
        }
        plan = std::move(made);
        return *plan;
    }

    void run(const CudnnPlanKey& key, const GpuStream& stream, std::span<const CudnnPlace> places)
    {
        BuiltPlan& plan = this->plan(key);
        const std::int64_t scratch = plan.known.workspace_bytes;
        void* const workspace =
            scratch == 0 ? nullptr
                         : stream.large_workspace(static_cast<std::size_t>(scratch)).data();
        const std::scoped_lock lock(mutex_);
        for (const auto& [tensor, at] : places)
            plan.places[uid_of(tensor)] = at;
        const cudnnHandle_t handle = handle_of(key.device);
        check(fe::detail::set_stream(handle, static_cast<cudaStream_t>(stream.native())),
              "cudnnSetStream");
        fe::error_t status = plan.graph.execute(handle, plan.places, workspace);
        if (!status.is_good())
            throw PeerError("the GPU failed: " + cudnn_line(status.get_message()) + " in cuDNN's " +
                            text_of(key));
    }

private:
    cudnnHandle_t handle_of(int device)
    {
        fe::cudnn_dlhandle = CudnnLibrary::loaded().handle();
        auto& handle = handles_[device];
        if (handle == nullptr)
            check(fe::detail::create_handle(&handle), "cudnnCreate");
        return handle;
    }

    std::mutex mutex_;
    std::map<int, cudnnHandle_t> handles_;
    std::map<CudnnPlanKey, std::unique_ptr<BuiltPlan>> plans_;
};

} // namespace

const CudnnPlan& cudnn_plan(const CudnnPlanKey& key) { return Plans::all().plan(key).known; }

void run_cudnn_plan(const CudnnPlanKey& key, const GpuStream& stream,
                    std::span<const CudnnPlace> places)
{
    Plans::all().run(key, stream, places);
}

} // namespace sluice::kernels
