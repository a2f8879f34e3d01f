#include "layers/layer_activations.hpp"

#include <array>

namespace sluice {

namespace {

bool norms_output(Arrangement arrangement)
{
    return arrangement != Arrangement::pre && arrangement != Arrangement::lns;
}

/// The last pass that reads an activation, or its gradient written over it.
enum class LastReader : bool { input_gradient, weight_gradient };

/// Takes memory for the activations of one part.
class PartAllocator {
public:
    PartAllocator(const Precision& precision, Recompute recompute, ActivationPart part,
                  Arena& arena)
        : precision_(precision), recompute_(recompute), part_(part), arena_(arena)
    {
    }
    /// `dropped_by`: the least choice of Recompute that does not keep it.
    TensorView take(const Shape& shape, Recompute dropped_by, LastReader last_reader)
    {
        return take(precision_.compute, shape, dropped_by, last_reader);
    }
    /// Of norms or softmax; only the input gradient reads it, after a forward pass repeated in
    /// full.
    TensorView take_statistics(const Shape& shape)
    {
        return take(precision_.statistics(), shape, Recompute::full, LastReader::input_gradient);
    }
    /// The layer's output is kept under every choice: the next layer starts from it.
    TensorView take_kept(const Shape& shape)
    {
        return part_ == ActivationPart::kept ? arena_.allocate(precision_.compute, shape)
                                             : TensorView{};
    }

private:
    TensorView take(DType dtype, const Shape& shape, Recompute dropped_by, LastReader last_reader)
    {
        ActivationPart part = ActivationPart::kept;
        if (recompute_ >= dropped_by)
            part = last_reader == LastReader::weight_gradient
                       ? ActivationPart::recomputed_for_weights
                       : ActivationPart::recomputed_for_input;
        return part == part_ ? arena_.allocate(dtype, shape) : TensorView{};
    }

    const Precision& precision_;
    Recompute recompute_;
    ActivationPart part_;
    Arena& arena_;
};

ResidualActivations allocate_residual(Arrangement arrangement, std::int64_t n, std::int64_t c,
                                      PartAllocator& allocator)
{
    ResidualActivations made;
    if (norms_input(arrangement)) {
        made.u = allocator.take({n, c}, Recompute::lean, LastReader::weight_gradient);
        made.input_rstd = allocator.take_statistics({n});
    }
    if (norms_output(arrangement)) {
        made.projected = allocator.take({n, c}, Recompute::full, LastReader::weight_gradient);
        made.projected_rstd = allocator.take_statistics({n});
    }
    return made;
}

/// The residual stream between the branches.
TensorView allocate_middle(Arrangement arrangement, const Shape& shape, PartAllocator& allocator)
{
    if (!norms_input(arrangement)) // a norm's output, and the MLP's input
        return allocator.take(shape, Recompute::lean, LastReader::weight_gradient);
    // Its gradient is that of attention's product, except where that is normed before it is added.
    return allocator.take(shape, Recompute::full,
                          norms_output(arrangement) ? LastReader::input_gradient
                                                    : LastReader::weight_gradient);
}

/// Those with memory of their own in some arrangement.
template <class Activations>
auto tensors_of(Activations& layer)
{
    auto& [attention_residual, attention, mlp_residual, mlp] = layer;
    return std::array{&attention_residual.u,
                      &attention_residual.input_rstd,
                      &attention_residual.projected,
                      &attention_residual.projected_rstd,
                      &attention_residual.y,
                      &attention.qkv,
                      &attention.heads,
                      &attention.logsumexp,
                      &mlp_residual.u,
                      &mlp_residual.input_rstd,
                      &mlp_residual.projected,
                      &mlp_residual.projected_rstd,
                      &mlp_residual.y,
                      &mlp.gate_up,
                      &mlp.h};
}

} // namespace

DecoderLayerActivations allocate_activations(const ModelSpec& spec,
                                             const MicroBatchShape& micro_batch,
                                             const Precision& precision, Recompute recompute,
                                             ActivationPart part, Arena& arena)
{
    const std::int64_t n = micro_batch.num_tokens();
    const std::int64_t c = spec.hidden_size;
    const std::int64_t f = spec.intermediate_size;
    const Shape rows_of_heads{micro_batch.num_sequences, spec.num_heads, micro_batch.seq_len};
    PartAllocator allocator(precision, recompute, part, arena);
    DecoderLayerActivations layer;
    layer.attention_residual = allocate_residual(spec.arrangement, n, c, allocator);
    layer.attention_residual.y = allocate_middle(spec.arrangement, {n, c}, allocator);
    layer.attention = {
        .qkv = allocator.take({n, 3 * c}, Recompute::full, LastReader::weight_gradient),
        .heads = allocator.take({n, c}, Recompute::full, LastReader::weight_gradient),
        .logsumexp = allocator.take_statistics(rows_of_heads)};
    layer.mlp_residual = allocate_residual(spec.arrangement, n, c, allocator);
    layer.mlp_residual.y = allocator.take_kept({n, c});
    layer.mlp = {.gate_up =
                     allocator.take({n, 2 * f}, Recompute::full, LastReader::weight_gradient),
                 .h = allocator.take({n, f}, Recompute::lean, LastReader::weight_gradient)};
    return layer;
}

DecoderLayerActivations overlay(DecoderLayerActivations activations,
                                const DecoderLayerActivations& other)
{
    const auto to = tensors_of(activations);
    const auto from = tensors_of(other);
    for (std::size_t i = 0; i < to.size(); ++i)
        if (!from[i]->empty())
            *to[i] = *from[i];
    return activations;
}

void link(const ModelSpec& spec, const TensorView& x, DecoderLayerActivations& activations)
{
    activations.attention_residual.x = x;
    activations.mlp_residual.x = activations.attention_residual.y;
    for (ResidualActivations* branch :
         {&activations.attention_residual, &activations.mlp_residual}) {
        if (!norms_input(spec.arrangement))
            branch->u = branch->x;
        if (!norms_output(spec.arrangement))
            branch->projected = branch->y;
    }
}

} // namespace sluice
