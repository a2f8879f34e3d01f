// A model as a chain of chunks on one pool, run the way a pipeline would, and what comes out: what
// must be the same bits however the model is cut and its memory is used.
#pragma once

#include "layers/kernels/elementwise.hpp"
#include "tests/layers/layer_fixture.hpp"

#include <memory>

namespace sluice::testing {

/// Copies of every gradient, parameter by parameter in the order of the whole model.
using Bytes = std::vector<std::vector<char>>;

inline Bytes gradients_of(ModelChunk& chunk)
{
    Bytes bytes;
    for (const Parameter& parameter : chunk.parameters()) {
        const char* const data = static_cast<const char*>(parameter.gradient.data);
        bytes.emplace_back(data, data + parameter.gradient.num_bytes());
    }
    return bytes;
}

struct Run {
    std::vector<double> losses;
    Bytes gradients;
};

inline void check_same(const Run& found, const Run& expected, const std::string& what)
{
    BOOST_CHECK_MESSAGE(found.losses == expected.losses, what << ": losses differ");
    BOOST_REQUIRE_EQUAL(found.gradients.size(), expected.gradients.size());
    for (std::size_t i = 0; i < found.gradients.size(); ++i)
        BOOST_CHECK_MESSAGE(found.gradients[i] == expected.gradients[i],
                            what << ": gradient of parameter " << i << " differs");
}

class ChunkChain {
public:
    /// One chunk per range, otherwise like `options`; `num_microbatches` in flight at once.
    ChunkChain(const ModelChunkOptions& options, const std::vector<LayerRange>& ranges,
               int num_microbatches)
        : num_microbatches_(num_microbatches), num_chunks_(static_cast<int>(ranges.size()))
    {
        PoolSizes sizes{.num_slots = num_chunks_ * num_microbatches,
                        .num_gradient_slots = num_chunks_ * num_microbatches};
        std::vector<ModelChunkOptions> all(ranges.size(), options);
        for (std::size_t c = 0; c < ranges.size(); ++c) {
            all[c].range = ranges[c];
            sizes.fit(plan_memory(all[c]));
        }
        pool_ = std::make_unique<ActivationPool>(sizes, Device{});
        for (const ModelChunkOptions& chunk : all) {
            chunks_.push_back(std::make_unique<ModelChunk>(chunk, *pool_));
            fill_parameters(*chunks_.back());
        }
    }

    /// All forwards, then all backwards; with BackwardSplit::split all weight gradients at the end.
    Run run(const std::vector<double>& alphas, double loss_scale)
    {
        for (int m = 0; m < num_microbatches_; ++m)
            for (int c = 0; c < num_chunks_; ++c)
                forward(c, m, alphas);
        Run made;
        for (int m = 0; m < num_microbatches_; ++m)
            for (int c = num_chunks_ - 1; c >= 0; --c) {
                backward(c, m, alphas, loss_scale);
                if (c == num_chunks_ - 1)
                    made.losses.push_back(chunk(c).loss_sum());
            }
        for (int m = 0; m < num_microbatches_; ++m)
            for (int c = 0; c < num_chunks_; ++c)
                if (chunk(c).options().split == BackwardSplit::split)
                    chunk(c).backward_weight(slot(c, m), slot(c, m), gates(c, alphas));
        for (const auto& one : chunks_)
            for (auto& bytes : gradients_of(*one))
                made.gradients.push_back(std::move(bytes));
        return made;
    }

    ModelChunk& chunk(int c) { return *chunks_[static_cast<std::size_t>(c)]; }
    /// Neighbours in the pool belong to different chunks. Gradient slots likewise.
    std::int64_t slot(int c, int m) const { return m * num_chunks_ + (num_chunks_ - 1 - c); }

    void forward(int c, int m, const std::vector<double>& alphas)
    {
        fill_micro_batch(chunk(c), slot(c, m), m);
        if (c > 0)
            copy(chunk(c - 1).output(slot(c - 1, m)), chunk(c).input(slot(c, m)));
        chunk(c).forward(slot(c, m), gates(c, alphas));
    }

    void backward(int c, int m, const std::vector<double>& alphas, double loss_scale)
    {
        const std::int64_t s = slot(c, m);
        if (c + 1 < num_chunks_)
            copy(chunk(c + 1).input_gradient(slot(c + 1, m)), chunk(c).output_gradient(s));
        if (chunk(c).options().split == BackwardSplit::split)
            chunk(c).backward_input(s, s, gates(c, alphas), loss_scale);
        else
            chunk(c).backward(s, s, gates(c, alphas), loss_scale);
    }

private:
    std::span<const double> gates(int c, const std::vector<double>& alphas)
    {
        const LayerRange& range = chunk(c).options().range;
        return std::span(alphas).subspan(static_cast<std::size_t>(range.begin),
                                         static_cast<std::size_t>(range.num_layers()));
    }
    void copy(const TensorView& from, const TensorView& to)
    {
        kernels::launch(chunk(0).options().stream, kernels::Copy{.from = from, .to = to});
    }

    int num_microbatches_, num_chunks_;
    std::unique_ptr<ActivationPool> pool_;
    std::vector<std::unique_ptr<ModelChunk>> chunks_;
};

inline Run run_chain(const ModelChunkOptions& options, const std::vector<LayerRange>& ranges,
                     int num_microbatches, const std::vector<double>& alphas, double loss_scale)
{
    return ChunkChain(options, ranges, num_microbatches).run(alphas, loss_scale);
}

/// Micro-batches one after another through one chunk with its own pool of one slot.
inline Run run_whole(const ModelChunkOptions& options, int num_microbatches,
                     const std::vector<double>& alphas, double loss_scale)
{
    ModelChunk chunk(options);
    fill_parameters(chunk);
    Run run;
    for (int m = 0; m < num_microbatches; ++m) {
        fill_micro_batch(chunk, 0, m);
        chunk.forward(0, alphas);
        chunk.backward(0, 0, alphas, loss_scale);
        run.losses.push_back(chunk.loss_sum());
    }
    run.gradients = gradients_of(chunk);
    return run;
}

} // namespace sluice::testing
