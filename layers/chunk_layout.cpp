#include "layers/chunk_layout.hpp"

#include "layers/kernels/adamw.hpp"

#include <algorithm>

namespace sluice {

namespace {

/// Every tensor below is shaped by these.
struct Extents {
    explicit Extents(const ModelChunkOptions& options)
        : n(options.micro_batch.num_tokens()), c(options.model.hidden_size),
          f(options.model.intermediate_size), dtype(options.precision.compute)
    {
    }
    std::int64_t n, c, f;
    DType dtype;
    Shape stream() const { return {n, c}; }
};

void check(const ModelChunkOptions& options)
{
    const ModelSpec& spec = options.model;
    SLUICE_CHECK(spec.num_heads > 0 && spec.hidden_size % spec.num_heads == 0,
                 "hidden_size " << spec.hidden_size << ", num_heads " << spec.num_heads);
    SLUICE_CHECK(spec.head_dim() > 0 && spec.head_dim() % 2 == 0, "head_dim " << spec.head_dim());
    SLUICE_CHECK(spec.vocab_size > 0 && spec.intermediate_size > 0,
                 "vocab_size " << spec.vocab_size << ", intermediate_size "
                               << spec.intermediate_size);
    SLUICE_CHECK((options.stream.backend == Backend::reference) ==
                     (options.precision == fp64_precision),
                 "backend " << static_cast<int>(options.stream.backend) << " cannot compute in "
                            << name_of(options.precision.compute));
    const MicroBatchShape& shape = options.micro_batch;
    SLUICE_CHECK(shape.num_sequences > 0 && shape.seq_len > 0 && shape.seq_len <= spec.max_seq_len,
                 shape.num_sequences << " sequences of " << shape.seq_len << ", max_seq_len "
                                     << spec.max_seq_len);
}

DecoderLayerActivations allocate_part(const ModelChunkOptions& options, ActivationPart part,
                                      Arena& arena)
{
    // Forwards only keep nothing either.
    const Recompute recompute =
        options.passes == Passes::forward_only ? Recompute::full : options.recompute;
    return allocate_activations(options.model, options.micro_batch, options.precision, recompute,
                                part, arena);
}

ActivationSlot allocate_slot(const ModelChunkOptions& options,
                             const DecoderLayerActivations& recomputed, Arena& arena)
{
    const Extents extents(options);
    ActivationSlot slot;
    if (options.range.embedding)
        slot.input_tokens = arena.allocate(DType::i32, {extents.n});
    if (options.range.head)
        slot.target_tokens = arena.allocate(DType::i32, {extents.n});
    slot.input = slot.output = arena.allocate(extents.dtype, extents.stream());
    if (options.passes == Passes::forward_only) {
        // A layer's input is dead before its last write, that of its output.
        DecoderLayerActivations layer = recomputed;
        layer.mlp_residual.y = slot.input;
        link(options.model, slot.input, layer);
        slot.layers.assign(static_cast<std::size_t>(options.range.num_layers()), layer);
        return slot;
    }
    for (std::int64_t layer = 0; layer < options.range.num_layers(); ++layer) {
        slot.layers.push_back(
            overlay(recomputed, allocate_part(options, ActivationPart::kept, arena)));
        link(options.model, slot.output, slot.layers.back());
        slot.output = slot.layers.back().mlp_residual.y;
    }
    return slot;
}

GradientSlot allocate_gradient_slot(const ModelChunkOptions& options, Arena& arena)
{
    const Extents extents(options);
    const LayerRange& range = options.range;
    if (options.passes == Passes::forward_only)
        return {};
    const bool split = options.split == BackwardSplit::split;
    const auto stream_gradient = [&] { return arena.allocate(extents.dtype, extents.stream()); };
    GradientSlot slot;
    if (range.num_layers() == 0) { // both ends are one place
        if (!range.embedding || !range.head)
            slot.input = slot.output = stream_gradient();
        return slot;
    }
    if (!range.embedding || (split && !norms_input(options.model.arrangement)))
        slot.input = stream_gradient();
    if (!range.head)
        slot.output = stream_gradient();
    for (std::int64_t layer = 0; layer < range.num_layers(); ++layer)
        slot.layers.push_back(
            split ? allocate_part(options, ActivationPart::recomputed_for_weights, arena)
                  : DecoderLayerActivations{});
    return slot;
}

LayerScratch allocate_layer_scratch(const ModelChunkOptions& options, Arena& arena)
{
    const Extents extents(options);
    const MicroBatchShape& micro_batch = options.micro_batch;
    LayerScratch scratch;
    scratch.activations =
        overlay(allocate_part(options, ActivationPart::recomputed_for_weights, arena),
                allocate_part(options, ActivationPart::recomputed_for_input, arena));
    if (options.passes == Passes::forward_only)
        return scratch;
    scratch.stream_gradient = arena.allocate(extents.dtype, extents.stream());
    scratch.attention = {.heads = scratch.stream_gradient,
                         .row_dot = arena.allocate(options.precision.statistics(),
                                                   {micro_batch.num_sequences,
                                                    options.model.num_heads, micro_batch.seq_len}),
                         .qkv = arena.allocate(extents.dtype, {extents.n, 3 * extents.c})};
    const TensorView mlp =
        arena.allocate(extents.dtype, {extents.n * std::max(extents.f, extents.c)});
    scratch.mlp_h = mlp.slice(0, {extents.n, extents.f});
    scratch.unused_output = mlp.slice(0, extents.stream());
    return scratch;
}

} // namespace

TensorView ChunkLayout::input_gradient(const ActivationSlot& slot,
                                       const GradientSlot& gradients) const
{
    if (!gradients.input.empty())
        return gradients.input;
    return slot.layers.empty() || norms_input(model.arrangement) ? slot.input
                                                                 : scratch.stream_gradient;
}

TensorView ChunkLayout::output_gradient(const ActivationSlot& slot,
                                        const GradientSlot& gradients) const
{
    if (slot.layers.empty())
        return input_gradient(slot, gradients);
    if (!gradients.output.empty())
        return gradients.output;
    return norms_input(model.arrangement) ? slot.output : scratch.stream_gradient;
}

TensorView ChunkLayout::kept_qkv_gradient(std::size_t layer, const ActivationSlot& slot,
                                          const GradientSlot& gradients) const
{
    const std::size_t behind = (layer + 1) % slot.layers.size();
    const TensorView& again = gradients.layers[behind].attention.qkv;
    return again.empty() ? slot.layers[behind].attention.qkv : again;
}

LayerBackward ChunkLayout::backward_of(std::size_t layer, const ActivationSlot& slot,
                                       const GradientSlot& gradients) const
{
    LayerBackward made{.activations = overlay(slot.layers[layer], gradients.layers[layer]),
                       .gradients = {.attention_residual = {},
                                     .attention = scratch.attention,
                                     .mlp_residual = {},
                                     .mlp_h = scratch.mlp_h}};
    auto& [attention, heads, mlp, mlp_h] = made.gradients;
    link(model, slot.layers[layer].attention_residual.x, made.activations);
    const bool on_stream = norms_input(model.arrangement);
    const auto gradient_at = [&](const TensorView& stream) {
        return on_stream ? stream : scratch.stream_gradient;
    };
    mlp.y = layer + 1 == slot.layers.size() ? output_gradient(slot, gradients)
                                            : gradient_at(made.activations.mlp_residual.y);
    mlp.x = attention.y = gradient_at(made.activations.mlp_residual.x);
    attention.x = layer == 0 ? input_gradient(slot, gradients)
                             : gradient_at(made.activations.attention_residual.x);
    mlp.u = on_stream ? scratch.stream_gradient : mlp.x;
    attention.u = on_stream ? scratch.stream_gradient : attention.x;
    return made;
}

ChunkLayout lay_out(const ModelChunkOptions& options, ChunkArenas& arenas)
{
    check(options);
    const Extents extents(options);
    ChunkLayout layout;
    layout.model = options.model;
    layout.parameters =
        options.passes == Passes::forward_only
            ? allocate_values(options.model, options.range, options.precision, arenas.parameters)
            : allocate_parameters(options.model, options.range, options.precision, options.moments,
                                  arenas.parameters, arenas.gradients, arenas.moments);
    if (options.range.num_layers() > 0)
        layout.scratch = allocate_layer_scratch(options, arenas.scratch);
    for (Arena& arena : arenas.slots)
        layout.slots.push_back(allocate_slot(options, layout.scratch.activations, arena));
    for (Arena& arena : arenas.gradient_slots)
        layout.gradient_slots.push_back(allocate_gradient_slot(options, arena));
    const Shape table{options.micro_batch.seq_len, options.model.head_dim() / 2};
    layout.cos = arenas.tables.allocate(options.precision.statistics(), table);
    layout.sin = arenas.tables.allocate(options.precision.statistics(), table);
    layout.stream_squares =
        arenas.tables.allocate(DType::f64, {std::max<std::int64_t>(1, options.range.num_layers())});
    layout.gradient_squares =
        arenas.tables.allocate(DType::f64, {static_cast<std::int64_t>(layout.parameters.size())});
    if (options.stream.device.kind == DeviceKind::cuda) {
        layout.adamw_factors = arenas.tables.allocate(DType::f32, {2, kernels::num_adamw_factors});
        if (options.range.num_layers() > 0)
            layout.gates = arenas.tables.allocate(DType::f32, {options.range.num_layers()});
    }
    if (options.range.head)
        layout.loss_head =
            allocate_loss_head_scratch(options.model, extents.n, options.precision, arenas.scratch);
    return layout;
}

ChunkArenas count(const ModelChunkOptions& options)
{
    ChunkArenas counting;
    counting.slots.emplace_back();
    counting.gradient_slots.emplace_back();
    lay_out(options, counting);
    return counting;
}

ChunkMemory memory_of(const ChunkArenas& arenas)
{
    return {.parameter_bytes = arenas.parameters.used_bytes(),
            .gradient_bytes = arenas.gradients.used_bytes(),
            .optimizer_bytes = arenas.moments.used_bytes(),
            .table_bytes = arenas.tables.used_bytes(),
            .slot_bytes = arenas.slots.front().used_bytes(),
            .gradient_slot_bytes = arenas.gradient_slots.empty()
                                       ? 0 // forwards only
                                       : arenas.gradient_slots.front().used_bytes(),
            .scratch_bytes = arenas.scratch.used_bytes()};
}

ChunkMemory plan_memory(const ModelChunkOptions& options) { return memory_of(count(options)); }

PoolSizes own_pool_sizes(const ModelChunkOptions& options)
{
    PoolSizes sizes{.num_slots = options.num_slots,
                    .num_gradient_slots = options.num_gradient_slots};
    sizes.fit(plan_memory(options));
    return sizes;
}

} // namespace sluice
