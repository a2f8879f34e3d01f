#include "layers/chunk_layout.hpp"

#include <optional>

namespace sluice {

namespace {

/// Every tensor below is shaped by these.
struct Extents {
    explicit Extents(const ModelChunkOptions& options)
        : n(options.micro_batch.num_tokens()), c(options.model.hidden_size),
          f(options.model.intermediate_size), dtype(compute_dtype(options.backend))
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
    const MicroBatchShape& shape = options.micro_batch;
    SLUICE_CHECK(shape.num_sequences > 0 && shape.seq_len > 0 && shape.seq_len <= spec.max_seq_len,
                 shape.num_sequences << " sequences of " << shape.seq_len << ", max_seq_len "
                                     << spec.max_seq_len);
}

ActivationSlot allocate_slot(const ModelChunkOptions& options, Arena& arena)
{
    const Extents extents(options);
    ActivationSlot slot;
    if (options.range.embedding)
        slot.input_tokens = arena.allocate(DType::i32, {extents.n});
    if (options.range.head)
        slot.target_tokens = arena.allocate(DType::i32, {extents.n});
    slot.input = slot.output = arena.allocate(extents.dtype, extents.stream());
    for (std::int64_t layer = 0; layer < options.range.num_layers(); ++layer) {
        slot.layers.push_back(allocate_activations(options.model, options.micro_batch,
                                                   extents.dtype, slot.output, arena));
        slot.output = slot.layers.back().mlp_residual.y;
    }
    return slot;
}

/// Gradient buffers that no weight gradient needs later (scratch), or that it does (kept: scratch
/// as well when it follows at once, else per slot).
class GradientAllocator {
public:
    GradientAllocator(const ModelChunkOptions& options, ChunkArenas& arenas)
        : options_(options), extents_(options), arenas_(arenas),
          sandwich_(options.model.arrangement == Arrangement::sandwich)
    {
        if (options.range.num_layers() == 0)
            return;
        const ModelSpec& spec = options.model;
        shared_.mlp_h = scratch({extents_.n, extents_.f});
        shared_.attention.heads = scratch(extents_.stream());
        shared_.attention.row_dot = scratch(
            {options.micro_batch.num_sequences, spec.num_heads, options.micro_batch.seq_len});
        if (split())
            return;
        shared_.attention.qkv = scratch({extents_.n, 3 * extents_.c});
        if (sandwich_)
            shared_.attention_residual.projected = shared_.mlp_residual.projected =
                scratch(extents_.stream());
    }

    GradientSlot slot(Arena& arena)
    {
        slot_arena_ = &arena;
        const std::int64_t num_places = 2 * options_.range.num_layers() + 1;
        std::vector<TensorView> stream;
        for (std::int64_t place = 0; place < num_places; ++place)
            stream.push_back(residual_stream(place, num_places));
        GradientSlot made{.input = stream.front(), .output = stream.back(), .layers = {}};
        for (std::size_t place = 0; place + 2 < stream.size(); place += 2)
            made.layers.push_back(layer(stream[place], stream[place + 1], stream[place + 2]));
        return made;
    }

private:
    bool split() const { return options_.split == BackwardSplit::split; }

    TensorView scratch(const Shape& shape)
    {
        return arenas_.scratch.allocate(extents_.dtype, shape);
    }
    TensorView kept(const Shape& shape) { return slot_arena_->allocate(extents_.dtype, shape); }

    /// Kept: what is exchanged with other chunks, what the embedding's gradient needs, and, except
    /// in sandwich (which keeps the gradient of its product instead), what the output projections'
    /// gradients need.
    TensorView residual_stream(std::int64_t place, std::int64_t num_places)
    {
        const bool first = place == 0;
        const bool last = place == num_places - 1;
        const bool exchanged =
            (first && !options_.range.embedding) || (last && !options_.range.head);
        if (exchanged || (split() && (first || !sandwich_)))
            return kept(extents_.stream());
        std::optional<TensorView>& buffer = alternating_[place % 2];
        if (!buffer)
            buffer = scratch(extents_.stream());
        return *buffer;
    }

    DecoderLayerGradients layer(const TensorView& input, const TensorView& middle,
                                const TensorView& output)
    {
        DecoderLayerGradients made = shared_;
        made.attention_residual.x = input;
        made.attention_residual.y = made.mlp_residual.x = middle;
        made.mlp_residual.y = output;
        if (split())
            made.attention.qkv = kept({extents_.n, 3 * extents_.c});
        for (ResidualGradients* residual : {&made.attention_residual, &made.mlp_residual}) {
            if (!sandwich_)
                residual->projected = residual->y;
            else if (split())
                residual->projected = kept(extents_.stream());
        }
        return made;
    }

    const ModelChunkOptions& options_;
    const Extents extents_;
    ChunkArenas& arenas_;
    Arena* slot_arena_ = nullptr;
    const bool sandwich_;
    DecoderLayerGradients shared_;
    std::optional<TensorView> alternating_[2];
};

} // namespace

DType compute_dtype(Backend backend)
{
    switch (backend) {
    case Backend::reference: return DType::f64;
    case Backend::cpu: return DType::f32;
    case Backend::cuda: break;
    }
    SLUICE_CHECK(false, "no compute type on backend " << static_cast<int>(backend));
    return DType::f32;
}

ChunkLayout lay_out(const ModelChunkOptions& options, ChunkArenas& arenas)
{
    check(options);
    const Extents extents(options);
    ChunkLayout layout;
    layout.parameters = allocate_parameters(options.model, options.range, extents.dtype,
                                            options.moments, arenas.parameters, arenas.moments);
    for (Arena& arena : arenas.slots)
        layout.slots.push_back(allocate_slot(options, arena));
    GradientAllocator gradients(options, arenas);
    for (Arena& arena : arenas.gradient_slots)
        layout.gradient_slots.push_back(gradients.slot(arena));
    const Shape table{options.micro_batch.seq_len, options.model.head_dim() / 2};
    layout.cos = arenas.tables.allocate(extents.dtype, table);
    layout.sin = arenas.tables.allocate(extents.dtype, table);
    layout.sum_of_squares = arenas.scratch.allocate(DType::f64, {1});
    if (options.range.head)
        layout.loss_head =
            allocate_loss_head_scratch(options.model, extents.n, extents.dtype, arenas.scratch);
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
    // Values and gradients lie alike.
    const std::size_t half = arenas.parameters.used_bytes() / 2;
    return {.parameter_bytes = half,
            .gradient_bytes = half,
            .optimizer_bytes = arenas.moments.used_bytes(),
            .table_bytes = arenas.tables.used_bytes(),
            .slot_bytes = arenas.slots.front().used_bytes(),
            .gradient_slot_bytes = arenas.gradient_slots.front().used_bytes(),
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
