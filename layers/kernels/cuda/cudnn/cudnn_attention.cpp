// Attention by cuDNN: a micro-batch in parts, of each of which a plan knows the sizes.
#include "layers/kernels/cudnn_attention.hpp"

#include "core/cuda/gpu_stream.hpp"
#include "core/error.hpp"
#include "layers/kernels/cuda/cudnn/cudnn_library.hpp"
#include "layers/kernels/cuda/cudnn/cudnn_plans.hpp"
#include "layers/kernels/rotary.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <span>
#include <string>

namespace sluice::kernels {

namespace {

using enum CudnnTensor;

/// So much scratch memory at most, if sequences and heads can be taken in parts and one head does
/// not need more (beyond 16,384 positions): the deterministic backward pass keeps the gradient of
/// every score.
constexpr std::int64_t most_workspace_bytes = std::int64_t{512} << 20;

/// A part of a micro-batch: cuDNN's plans take so many sequences and heads at once.
struct Part {
    std::int64_t sequences, heads;
};

/// By sizes alone, so the bits are the same wherever a micro-batch is computed.
Part part_of(AttentionPass pass, const AttentionExtents& e)
{
    // A row of logsumexp that is no multiple of 16 bytes could not begin where cuDNN wants it.
    if (pass == AttentionPass::forward || e.positions % 4 != 0)
        return {e.sequences, e.heads};
    const std::int64_t keys = (e.positions + 127) / 128 * 128;
    const std::int64_t bytes_of_head = 2 * e.positions * keys;
    const std::int64_t most_heads = std::max<std::int64_t>(1, most_workspace_bytes / bytes_of_head);
    if (most_heads < e.heads)
        return {1, most_heads};
    return {std::min(e.sequences, most_heads / e.heads), e.heads};
}

/// The last version that would copy lengths of sequences from the host in every pass, which no
/// graph may hold, unless they fill its tiles.
constexpr std::size_t copies_lengths = 91500;

/// Before cuDNN is asked, what is known to be wrong with it.
void refuse_unfit(DType dtype, const AttentionExtents& e)
{
    if (const std::string why = why_not_cudnn(dtype, e); !why.empty())
        throw usage_error(why, "precision.attention", "write attention = \"own\"");
    if (const std::int64_t multiple = cudnn_position_multiple(); e.positions % multiple != 0)
        throw cudnn_refuses("sequences of " + std::to_string(e.positions) + " tokens",
                            "up to version " + cudnn_version_text(copies_lengths) +
                                " they must be multiples of " + std::to_string(multiple));
}

CudnnPlanKey key_of(int device, AttentionPass pass, const AttentionExtents& e, const Part& part)
{
    return {device, pass, part.sequences, e.positions, part.heads, e.head_dim, e.heads};
}

/// Calls body(first sequence, first head, part): all parts are of one size, but the last.
template <class Body>
void for_each_part(AttentionPass pass, const AttentionExtents& e, Body&& body)
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

/// Of a part's tensors.
class Places {
public:
    void add(CudnnTensor tensor, void* at) { places_[count_++] = {tensor, at}; }
    std::span<const CudnnPlace> all() const { return std::span(places_).first(count_); }

private:
    std::array<CudnnPlace, 9> places_{};
    std::size_t count_ = 0;
};

/// Runs every part's plan. What both passes have is placed here; the rest by
/// place_more(places, heads_of(tensor, which, of how many)).
template <class Operation, class PlaceMore>
void run_parts(const Stream& stream, AttentionPass pass, const Operation& op,
               PlaceMore&& place_more)
{
    const GpuStream& gpu = GpuStream::of(stream); // throws where there is no GPU
    const AttentionExtents e = extents_of(op);
    refuse_unfit(op.qkv.dtype, e);
    for_each_part(pass, e, [&](std::int64_t sequence, std::int64_t head, const Part& part) {
        const auto heads_of = [&](const TensorView& tensor, std::int64_t which,
                                  std::int64_t of_how_many) {
            return heads_at(tensor, e, sequence, head, which, of_how_many);
        };
        Places places;
        places.add(q, heads_of(op.qkv, 0, 3));
        places.add(k, heads_of(op.qkv, 1, 3));
        places.add(v, heads_of(op.qkv, 2, 3));
        places.add(out, heads_of(op.out, 0, 1));
        places.add(logsumexp, part_at(op.logsumexp, (sequence * e.heads + head) * e.positions));
        place_more(places, heads_of);
        run_cudnn_plan(key_of(stream.device.index, pass, e, part), gpu, places.all());
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
    for (const AttentionPass pass : {AttentionPass::forward, AttentionPass::backward}) {
        std::string name;
        for_each_part(pass, e, [&](std::int64_t, std::int64_t, const Part& part) {
            const CudnnPlan& plan = cudnn_plan(key_of(stream.device.index, pass, e, part));
            bytes = std::max(bytes, plan.workspace_bytes);
            if (name.find(plan.name) == std::string::npos)
                name += (name.empty() ? "" : " and ") + plan.name;
        });
        names += (pass == AttentionPass::forward ? ", forward " : ", backward ") + name;
    }
    const auto num_bytes = static_cast<std::size_t>(bytes);
    if (num_bytes > 0)
        gpu.large_workspace(num_bytes);
    return {num_bytes, "cuDNN " + cudnn_version() + names};
}

void run_cudnn(const Stream& stream, const AttentionForward& op)
{
    run_parts(stream, AttentionPass::forward, op, [](auto&...) {});
}

void run_cudnn(const Stream& stream, const AttentionBackward& op)
{
    run_parts(stream, AttentionPass::backward, op, [&op](Places& places, const auto& heads_of) {
        places.add(dout, heads_of(op.dout, 0, 1));
        places.add(dq, heads_of(op.qkv_gradient, 0, 3));
        places.add(dk, heads_of(op.qkv_gradient, 1, 3));
        places.add(dv, heads_of(op.qkv_gradient, 2, 3));
    });
    run(Cuda{stream},
        RotaryBackward{.qkv_gradient = op.qkv_gradient, .cos = op.cos, .sin = op.sin});
}

} // namespace sluice::kernels
