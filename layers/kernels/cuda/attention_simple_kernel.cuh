// Attention without tensor cores: float32, and heads of other widths. Tiles in shared memory, a few
// products per thread, sums in float32 in the order of keys (or queries).
// Legend: D channels of a head (up to 128), S rows of a tile.
#pragma once

#include "layers/kernels/cuda/attention_tiles.cuh"

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

inline constexpr int simple_rows = 16; // S
inline constexpr std::int64_t max_simple_head_dim = max_head_dim_on_gpus;

/// `count` tiles of [S,D] and two of [S,S] in shared memory, rows one float apart from D and S so
/// that columns lie in different banks.
struct SimpleTiles {
    float* begin;
    int head_dim;

    static std::size_t bytes(int count, std::int64_t head_dim)
    {
        const std::int64_t floats =
            count * simple_rows * (head_dim + 1) + 2 * simple_rows * (simple_rows + 1);
        return static_cast<std::size_t>(floats) * sizeof(float);
    }
    SLUICE_DEVICE float* row(int tile, int row) const
    {
        return begin + (tile * simple_rows + row) * (head_dim + 1);
    }
    SLUICE_DEVICE float& score(int tiles, int which, int row, int column) const
    {
        return begin[tiles * simple_rows * (head_dim + 1) +
                     (which * simple_rows + row) * (simple_rows + 1) + column];
    }

    template <class T>
    SLUICE_DEVICE void load(int tile, const HeadRows<const T>& from, std::int64_t first,
                            std::int64_t end) const
    {
        for (int i = thread(); i < simple_rows * head_dim; i += attention_threads) {
            const int r = i / head_dim, c = i % head_dim;
            row(tile, r)[c] = first + r < end ? to_float(from[first + r][c]) : 0.0F;
        }
    }
    SLUICE_DEVICE void clear(int tile) const
    {
        for (int i = thread(); i < simple_rows * head_dim; i += attention_threads)
            row(tile, i / head_dim)[i % head_dim] = 0.0F;
    }
    template <class T>
    SLUICE_DEVICE void store(int tile, const HeadRows<T>& to, std::int64_t first, std::int64_t end,
                             float factor) const
    {
        for (int i = thread(); i < simple_rows * head_dim; i += attention_threads) {
            const int r = i / head_dim, c = i % head_dim;
            if (first + r < end)
                to[first + r][c] = from_float<T>(factor * row(tile, r)[c]);
        }
    }
    SLUICE_DEVICE float dot(int tile, int r, int other_tile, int other_r) const
    {
        const float *x = row(tile, r), *y = row(other_tile, other_r);
        float sum = 0.0F;
        for (int c = 0; c < head_dim; ++c)
            sum = fmaf(x[c], y[c], sum);
        return sum;
    }
    /// tile[i] += sum over j of weight(i, j) other_tile[j].
    template <class Weight>
    SLUICE_DEVICE void add_weighted(int tile, int other_tile, Weight&& weight) const
    {
        for (int i = thread(); i < simple_rows * head_dim; i += attention_threads) {
            const int r = i / head_dim, c = i % head_dim;
            float sum = row(tile, r)[c];
            for (int j = 0; j < simple_rows; ++j)
                sum = fmaf(weight(r, j), row(other_tile, j)[c], sum);
            row(tile, r)[c] = sum;
        }
    }
};

/// One tile after another of one head after another.
SLUICE_DEVICE Tile simple_tile(const AttentionExtents& e, std::int64_t num_tiles)
{
    const std::int64_t head = block_x() / num_tiles;
    return {head / e.heads, head % e.heads, block_x() % num_tiles * simple_rows};
}

template <class T>
struct SimpleAttentionForwardKernel {
    static constexpr int num_threads = attention_threads, min_blocks = 1;
    enum Tiles : int { queries, keys, values, sums, num_tiles_shared };

    const T* qkv;     // [B,T,3,H,D]
    T* out;           // [B,T,H,D]
    float* logsumexp; // [B,H,T]
    AttentionExtents e;
    std::int64_t num_tiles;
    float scale;

    SLUICE_DEVICE void operator()() const
    {
        const SimpleTiles tiles{&shared_memory<float>(), static_cast<int>(e.head_dim)};
        const Tile at = simple_tile(e, num_tiles);
        const auto p = [&](int i, int j) -> float& {
            return tiles.score(num_tiles_shared, 0, i, j);
        };
        const auto rescale = [&](int i) -> float& {
            return tiles.score(num_tiles_shared, 1, i, 0);
        };
        tiles.load(queries, part_of_qkv(qkv, e, at, 0), at.first_row, e.positions);
        tiles.clear(sums);
        float maximum = -INFINITY, sum = 0.0F; // of the query that threads 0 to S - 1 look after
        for (std::int64_t first = 0; first <= at.first_row; first += simple_rows) {
            tiles.load(keys, part_of_qkv(qkv, e, at, 1), first, e.positions);
            tiles.load(values, part_of_qkv(qkv, e, at, 2), first, e.positions);
            barrier();
            for (int i = thread(); i < simple_rows * simple_rows; i += num_threads) {
                const int query = i / simple_rows, key = i % simple_rows;
                p(query, key) = first + key <= at.first_row + query
                                    ? scale * tiles.dot(queries, query, keys, key)
                                    : -INFINITY;
            }
            barrier();
            if (thread() < simple_rows) {
                const int query = thread();
                const float before = maximum;
                for (int key = 0; key < simple_rows; ++key)
                    maximum = fmaxf(maximum, p(query, key));
                const float factor = expf(before - maximum);
                sum *= factor;
                for (int key = 0; key < simple_rows; ++key) {
                    p(query, key) = expf(p(query, key) - maximum);
                    sum += p(query, key);
                }
                rescale(query) = factor;
            }
            barrier();
            for (int i = thread(); i < simple_rows * tiles.head_dim; i += num_threads)
                tiles.row(sums, i / tiles.head_dim)[i % tiles.head_dim] *=
                    rescale(i / tiles.head_dim);
            tiles.add_weighted(sums, values, p); // the same elements as just before
            barrier();
        }
        if (thread() < simple_rows) {
            rescale(thread()) = 1.0F / sum;
            const std::int64_t query = at.first_row + thread();
            if (query < e.positions)
                logsumexp[(at.sequence * e.heads + at.head) * e.positions + query] =
                    maximum + logf(sum);
        }
        barrier();
        for (int i = thread(); i < simple_rows * tiles.head_dim; i += num_threads)
            tiles.row(sums, i / tiles.head_dim)[i % tiles.head_dim] *= rescale(i / tiles.head_dim);
        tiles.store(sums, head_of(out, e, at), at.first_row, e.positions, 1.0F);
    }
};

/// Owns keys, walks over the queries that see them: gradients of keys and values.
template <class T>
struct SimpleAttentionKeyGradientKernel : AttentionBackwardInputs<T> {
    static constexpr int num_threads = attention_threads, min_blocks = 1;
    enum Tiles : int { keys, values, dk, dv, queries, douts, num_tiles_shared };

    SLUICE_DEVICE void operator()() const
    {
        const AttentionExtents e = this->e;
        const SimpleTiles tiles{&shared_memory<float>(), static_cast<int>(e.head_dim)};
        const Tile at = simple_tile(e, this->order.num_tiles);
        const auto p = [&](int key, int query) -> float& {
            return tiles.score(num_tiles_shared, 0, key, query);
        };
        const auto ds = [&](int key, int query) -> float& {
            return tiles.score(num_tiles_shared, 1, key, query);
        };
        tiles.load(keys, part_of_qkv(this->qkv, e, at, 1), at.first_row, e.positions);
        tiles.load(values, part_of_qkv(this->qkv, e, at, 2), at.first_row, e.positions);
        tiles.clear(dk);
        tiles.clear(dv);
        for (std::int64_t first = at.first_row; first < e.positions; first += simple_rows) {
            tiles.load(queries, part_of_qkv(this->qkv, e, at, 0), first, e.positions);
            tiles.load(douts, head_of(this->dout, e, at), first, e.positions);
            barrier();
            for (int i = thread(); i < simple_rows * simple_rows; i += num_threads) {
                const int key = i / simple_rows, column = i % simple_rows;
                const std::int64_t query = first + column;
                const bool seen = query < e.positions && at.first_row + key <= query;
                const std::int64_t statistic = this->first_statistic(at) + (seen ? query : 0);
                p(key, column) = seen ? expf(this->scale * tiles.dot(keys, key, queries, column) -
                                             this->logsumexp[statistic])
                                      : 0.0F;
                ds(key, column) = p(key, column) * (tiles.dot(values, key, douts, column) -
                                                    (seen ? this->row_dot[statistic] : 0.0F));
            }
            barrier();
            tiles.add_weighted(dv, douts, p);
            tiles.add_weighted(dk, queries, ds);
            barrier();
        }
        tiles.store(dk, part_of_qkv(this->qkv_gradient, e, at, 1), at.first_row, e.positions,
                    this->scale);
        tiles.store(dv, part_of_qkv(this->qkv_gradient, e, at, 2), at.first_row, e.positions, 1.0F);
    }
};

/// Owns queries, walks over the keys they see: gradients of queries.
template <class T>
struct SimpleAttentionQueryGradientKernel : AttentionBackwardInputs<T> {
    static constexpr int num_threads = attention_threads, min_blocks = 1;
    enum Tiles : int { queries, douts, dq, keys, values, num_tiles_shared };

    SLUICE_DEVICE void operator()() const
    {
        const AttentionExtents e = this->e;
        const SimpleTiles tiles{&shared_memory<float>(), static_cast<int>(e.head_dim)};
        const Tile at = simple_tile(e, this->order.num_tiles);
        const auto ds = [&](int query, int key) -> float& {
            return tiles.score(num_tiles_shared, 0, query, key);
        };
        tiles.load(queries, part_of_qkv(this->qkv, e, at, 0), at.first_row, e.positions);
        tiles.load(douts, head_of(this->dout, e, at), at.first_row, e.positions);
        tiles.clear(dq);
        for (std::int64_t first = 0; first <= at.first_row; first += simple_rows) {
            tiles.load(keys, part_of_qkv(this->qkv, e, at, 1), first, e.positions);
            tiles.load(values, part_of_qkv(this->qkv, e, at, 2), first, e.positions);
            barrier();
            for (int i = thread(); i < simple_rows * simple_rows; i += num_threads) {
                const int row = i / simple_rows, key = i % simple_rows;
                const std::int64_t query = at.first_row + row;
                const bool seen = query < e.positions && first + key <= query;
                const std::int64_t statistic = this->first_statistic(at) + (seen ? query : 0);
                ds(row, key) =
                    seen ? expf(this->scale * tiles.dot(queries, row, keys, key) -
                                this->logsumexp[statistic]) *
                               (tiles.dot(douts, row, values, key) - this->row_dot[statistic])
                         : 0.0F;
            }
            barrier();
            tiles.add_weighted(dq, keys, ds);
            barrier();
        }
        tiles.store(dq, part_of_qkv(this->qkv_gradient, e, at, 0), at.first_row, e.positions,
                    this->scale);
    }
};

inline void check_simple(const AttentionExtents& e)
{
    SLUICE_CHECK(e.head_dim <= max_simple_head_dim,
                 "head_dim " << e.head_dim << ": on GPUs up to " << max_simple_head_dim);
}

template <class Launcher>
void launch_attention_simple(const Launcher& launcher, const AttentionForward& op)
{
    const AttentionExtents e = extents_of(op);
    check_simple(e);
    const std::int64_t num_tiles = blocks_for(e.positions, simple_rows);
    with_type_of(op.qkv, [&]<class T>(Type<T>) {
        using Kernel = SimpleAttentionForwardKernel<T>;
        launcher(
            Kernel{.qkv = op.qkv.as<T>(),
                   .out = op.out.as<T>(),
                   .logsumexp = op.logsumexp.as<float>(),
                   .e = e,
                   .num_tiles = num_tiles,
                   .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(e.head_dim)))},
            Grid{e.sequences * e.heads * num_tiles},
            SimpleTiles::bytes(Kernel::num_tiles_shared, e.head_dim));
    });
}

/// After row_dot.
template <class Launcher>
void launch_attention_simple(const Launcher& launcher, const AttentionBackward& op)
{
    check_simple(extents_of(op));
    with_type_of(op.qkv, [&]<class T>(Type<T>) {
        using Keys = SimpleAttentionKeyGradientKernel<T>;
        using Queries = SimpleAttentionQueryGradientKernel<T>;
        const auto inputs = backward_inputs<T>(op, simple_rows);
        const AttentionExtents& e = inputs.e;
        const Grid grid{inputs.order.num_blocks()};
        launcher(Keys{inputs}, grid, SimpleTiles::bytes(Keys::num_tiles_shared, e.head_dim));
        launcher(Queries{inputs}, grid, SimpleTiles::bytes(Queries::num_tiles_shared, e.head_dim));
    });
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
