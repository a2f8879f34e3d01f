// Attention by cuDNN, through NVIDIA's cudnn-frontend. It is the only file that includes it: half a
// minute to compile.
#include "layers/kernels/cudnn_attention.hpp"

#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/error.hpp"
#include "layers/kernels/cuda/cudnn/cudnn_library.hpp"

#include <cudnn_frontend.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <compare>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr; // of cuDNN's library, where the frontend looks functions up
}

namespace sluice::kernels {

namespace {

namespace fe = cudnn_frontend;

/// So much scratch memory at most, if sequences and heads can be taken in parts and one head does
/// not need more (beyond 16,384 positions): the deterministic backward pass keeps the gradient of
/// every score.
constexpr std::int64_t most_workspace_bytes = std::int64_t{512} << 20;

enum class Pass { forward, backward };
enum Uid : std::int64_t { q = 1, k, v, out, logsumexp, dout, dq, dk, dv };

/// Everything that a plan depends on. `heads` of `all_heads` neighbours in a row of qkv.
struct PlanKey {
    int device;
    Pass pass;
    std::int64_t sequences, positions, heads, head_dim, all_heads;
    auto operator<=>(const PlanKey&) const = default;
};

std::string text_of(const PlanKey& key)
{
    std::ostringstream text;
    text << "attention " << (key.pass == Pass::forward ? "forward" : "backward") << " on "
         << key.sequences << " x " << key.positions << " tokens, " << key.heads << " heads of "
         << key.head_dim;
    return text.str();
}

using Places = std::unordered_map<std::int64_t, void*>; ///< of tensors, by Uid

struct Plan {
    fe::graph::Graph graph;
    Places tensors; ///< for every run anew
    std::int64_t workspace_bytes = 0;
    std::string name;
};

/// A part of a micro-batch: cuDNN's plans take so many sequences and heads at once.
struct Part {
    std::int64_t sequences, heads;
};

/// By sizes alone, so the bits are the same wherever a micro-batch is computed.
Part part_of(Pass pass, const AttentionExtents& e)
{
    // A row of logsumexp that is no multiple of 16 bytes could not begin where cuDNN wants it.
    if (pass == Pass::forward || e.positions % 4 != 0)
        return {e.sequences, e.heads};
    const std::int64_t keys = (e.positions + 127) / 128 * 128;
    const std::int64_t bytes_of_head = 2 * e.positions * keys;
    const std::int64_t most_heads = std::max<std::int64_t>(1, most_workspace_bytes / bytes_of_head);
    if (most_heads < e.heads)
        return {1, most_heads};
    return {std::min(e.sequences, most_heads / e.heads), e.heads};
}

std::string one_line(std::string text)
{
    constexpr std::size_t longest = 600;
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text.size() <= longest ? text : text.substr(0, longest) + "...";
}

UserError refused(const std::string& what, const std::string& why)
{
    return usage_error("cuDNN " + cudnn_version_text(CudnnLibrary::loaded().version()) +
                           " cannot do " + what + ": " + one_line(why),
                       "precision.attention", "write attention = \"own\"");
}

/// Of the frontend, while a plan is made.
void check(fe::error_t status, const char* call, const PlanKey& key)
{
    if (!status.is_good())
        throw refused(text_of(key), std::string(call) + ": " + status.get_message());
}

void check(cudnnStatus_t status, const char* call)
{
    if (status != CUDNN_STATUS_SUCCESS)
        throw PeerError(std::string("the GPU failed: ") + fe::detail::get_error_string(status) +
                        " in " + call);
}

class Tensors {
public:
    Tensors(fe::graph::Graph& graph, const PlanKey& key) : graph_(graph), key_(key) {}

    /// [b,h,t,d] of a tensor whose rows of positions hold `parts` times all heads.
    std::shared_ptr<fe::graph::Tensor_attributes> heads(Uid uid, const char* name, int parts) const
    {
        return graph_.tensor(describe(fe::graph::Tensor_attributes(), uid, name, parts));
    }
    void is_output(fe::graph::Tensor_attributes& made, Uid uid, const char* name, int parts) const
    {
        describe(made, uid, name, parts).set_output(true);
    }
    fe::graph::Tensor_attributes& describe_logsumexp(fe::graph::Tensor_attributes&& tensor) const
    {
        return describe_logsumexp(tensor);
    }
    fe::graph::Tensor_attributes& describe_logsumexp(fe::graph::Tensor_attributes& tensor) const
    {
        return tensor.set_uid(logsumexp)
            .set_name("logsumexp")
            .set_data_type(fe::DataType_t::FLOAT)
            .set_dim({key_.sequences, key_.heads, key_.positions, 1})
            .set_stride({key_.heads * key_.positions, key_.positions, 1, 1});
    }

private:
    template <class Tensor>
    fe::graph::Tensor_attributes& describe(Tensor&& tensor, Uid uid, const char* name,
                                           int parts) const
    {
        const std::int64_t row = parts * key_.all_heads * key_.head_dim;
        return tensor.set_uid(uid)
            .set_name(name)
            .set_data_type(fe::DataType_t::BFLOAT16)
            .set_dim({key_.sequences, key_.heads, key_.positions, key_.head_dim})
            .set_stride({key_.positions * row, key_.head_dim, row, 1});
    }

    fe::graph::Graph& graph_;
    const PlanKey& key_;
};

void describe_forward(fe::graph::Graph& graph, const PlanKey& key)
{
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

void describe_backward(fe::graph::Graph& graph, const PlanKey& key)
{
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
void build(Plan& plan, cudnnHandle_t handle, const PlanKey& key)
{
    fe::graph::Graph& graph = plan.graph;
    graph.set_io_data_type(fe::DataType_t::BFLOAT16)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    // The frontend would ask the runtime library that it loaded, which is not the one in use here.
    const GpuInfo gpu = gpu_info(key.device);
    graph.set_sm_version(10 * gpu.major + gpu.minor);
    key.pass == Pass::forward ? describe_forward(graph, key) : describe_backward(graph, key);
    check(graph.validate(), "validate", key);
    check(graph.build_operation_graph(handle), "build_operation_graph", key);
    check(graph.create_execution_plans({fe::HeurMode_t::A}), "create_execution_plans", key);
    graph.deselect_numeric_notes({fe::NumericalNote_t::NONDETERMINISTIC});
    check(graph.check_support(), "check_support", key);
    check(graph.build_plans(fe::BuildPlanPolicy_t::HEURISTICS_CHOICE), "build_plans", key);
    check(graph.get_workspace_size(plan.workspace_bytes), "get_workspace_size", key);
    check(graph.get_plan_name(plan.name), "get_plan_name", key);
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
    Plan& plan(const PlanKey& key)
    {
        const std::scoped_lock lock(mutex_);
        auto& plan = plans_[key];
        if (plan)
            return *plan;
        auto made = std::make_unique<Plan>();
        try {
            build(*made, handle_of(key.device), key);
        } catch (const std::runtime_error& error) {
            if (dynamic_cast<const UserError*>(&error) || dynamic_cast<const PeerError*>(&error))
                throw;
            throw refused(text_of(key), error.what()); // the frontend throws, too
        }
        plan = std::move(made);
        return *plan;
    }

    /// `place` says where the tensors are.
    template <class Place>
    void run(const PlanKey& key, const GpuStream& stream, Place&& place)
    {
        Plan& plan = this->plan(key);
        void* const workspace =
            plan.workspace_bytes == 0
                ? nullptr
                : stream.large_workspace(static_cast<std::size_t>(plan.workspace_bytes)).data();
        const std::scoped_lock lock(mutex_);
        place(plan.tensors);
        const cudnnHandle_t handle = handle_of(key.device);
        check(fe::detail::set_stream(handle, static_cast<cudaStream_t>(stream.native())),
              "cudnnSetStream");
        fe::error_t status = plan.graph.execute(handle, plan.tensors, workspace);
        if (!status.is_good())
            throw PeerError("the GPU failed: " + one_line(status.get_message()) + " in cuDNN's " +
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
    std::map<PlanKey, std::unique_ptr<Plan>> plans_;
};

/// The last version that would copy lengths of sequences from the host in every pass, which no
/// graph may hold, unless they fill its tiles.
constexpr std::size_t copies_lengths = 91500;

/// Before cuDNN is asked, what is known to be wrong with it.
void refuse_unfit(DType dtype, const AttentionExtents& e)
{
    if (const std::string why = why_not_cudnn(dtype, e); !why.empty())
        throw usage_error(why, "precision.attention", "write attention = \"own\"");
    if (const std::int64_t multiple = cudnn_position_multiple(); e.positions % multiple != 0)
        throw refused("sequences of " + std::to_string(e.positions) + " tokens",
                      "up to version " + cudnn_version_text(copies_lengths) +
                          " they must be multiples of " + std::to_string(multiple));
}

PlanKey key_of(int device, Pass pass, const AttentionExtents& e, const Part& part)
{
    return {device, pass, part.sequences, e.positions, part.heads, e.head_dim, e.heads};
}

/// Calls body(first sequence, first head, part): all parts are of one size, but the last.
template <class Body>
void for_each_part(Pass pass, const AttentionExtents& e, Body&& body)
{
    const Part whole = part_of(pass, e);
    for (std::int64_t sequence = 0; sequence < e.sequences; sequence += whole.sequences)
        for (std::int64_t head = 0; head < e.heads; head += whole.heads)
            body(sequence, head,
                 Part{std::min(whole.sequences, e.sequences - sequence),
                      std::min(whole.heads, e.heads - head)});
}

void* part_at(const TensorView& tensor, std::int64_t first_element)
{
    void* const at = static_cast<std::byte*>(tensor.data) +
                     static_cast<std::size_t>(first_element) * size_of(tensor.dtype);
    SLUICE_CHECK(std::bit_cast<std::uintptr_t>(at) % 16 == 0, "not on a multiple of 16 bytes");
    return at;
}

/// Where the heads of a part begin in what is [B,T,parts,H,D].
void* heads_at(const TensorView& tensor, const AttentionExtents& e, std::int64_t sequence,
               std::int64_t head, std::int64_t part, std::int64_t parts)
{
    return part_at(tensor, ((sequence * e.positions * parts + part) * e.heads + head) * e.head_dim);
}

/// Runs every part's plan. What both passes have is placed here; the rest by
/// place_more(places, heads_of(tensor, which, of how many)).
template <class Operation, class PlaceMore>
void run_parts(const Stream& stream, Pass pass, const Operation& op, PlaceMore&& place_more)
{
    const GpuStream& gpu = GpuStream::of(stream); // throws where there is no GPU
    const AttentionExtents e = extents_of(op);
    refuse_unfit(op.qkv.dtype, e);
    for_each_part(pass, e, [&](std::int64_t sequence, std::int64_t head, const Part& part) {
        const auto heads_of = [&](const TensorView& tensor, std::int64_t which,
                                  std::int64_t of_how_many) {
            return heads_at(tensor, e, sequence, head, which, of_how_many);
        };
        Plans::all().run(key_of(stream.device.index, pass, e, part), gpu, [&](Places& at) {
            at[q] = heads_of(op.qkv, 0, 3);
            at[k] = heads_of(op.qkv, 1, 3);
            at[v] = heads_of(op.qkv, 2, 3);
            at[out] = heads_of(op.out, 0, 1);
            at[logsumexp] = part_at(op.logsumexp, (sequence * e.heads + head) * e.positions);
            place_more(at, heads_of);
        });
    });
}

} // namespace

bool cudnn_is_compiled_in() { return true; }

std::string why_no_cudnn()
{
    try {
        CudnnLibrary::loaded();
        return {};
    } catch (const UserError& error) {
        return error.problem();
    }
}

std::string cudnn_version() { return cudnn_version_text(CudnnLibrary::loaded().version()); }

std::int64_t cudnn_position_multiple()
{
    return CudnnLibrary::loaded().version() <= copies_lengths ? 128 : 1;
}

CudnnAttention prepare_cudnn_attention(const Stream& stream, DType dtype, const AttentionExtents& e)
{
    const GpuStream& gpu = GpuStream::of(stream); // throws where there is no GPU
    refuse_unfit(dtype, e);
    std::int64_t bytes = 0;
    std::string names;
    for (const Pass pass : {Pass::forward, Pass::backward}) {
        std::string name;
        for_each_part(pass, e, [&](std::int64_t, std::int64_t, const Part& part) {
            const Plan& plan = Plans::all().plan(key_of(stream.device.index, pass, e, part));
            bytes = std::max(bytes, plan.workspace_bytes);
            if (name.find(plan.name) == std::string::npos)
                name += (name.empty() ? "" : " and ") + plan.name;
        });
        names += (pass == Pass::forward ? ", forward " : ", backward ") + name;
    }
    const auto num_bytes = static_cast<std::size_t>(bytes);
    if (num_bytes > 0)
        gpu.large_workspace(num_bytes);
    return {num_bytes, "cuDNN " + cudnn_version() + names};
}

void run_cudnn(const Stream& stream, const AttentionForward& op)
{
    run_parts(stream, Pass::forward, op, [](auto&...) {});
}

void run_cudnn(const Stream& stream, const AttentionBackward& op)
{
    run_parts(stream, Pass::backward, op, [&op](Places& at, const auto& heads_of) {
        at[dout] = heads_of(op.dout, 0, 1);
        at[dq] = heads_of(op.qkv_gradient, 0, 3);
        at[dk] = heads_of(op.qkv_gradient, 1, 3);
        at[dv] = heads_of(op.qkv_gradient, 2, 3);
    });
}

} // namespace sluice::kernels
