// Attention's operands head by head, and what every way through a head does with them.
//
// Legend: T positions of a sequence, D channels of a head. Heads are counted through all sequences.
#pragma once

#include "layers/kernels/attention.hpp"
#include "layers/kernels/cpu/head_rows.hpp"
#include "layers/kernels/cpu/lanes.hpp"
#include "layers/kernels/extents.hpp"

#include <cmath>
#include <cstdint>

namespace sluice::kernels {

/// The factor of scores: 1/sqrt(D).
inline float scale_of(std::int64_t head_dim)
{
    return static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
}

template <class T>
struct HeadForward {
    HeadRows<const T> q, k, v;
    HeadRows<T> out;
    float* logsumexp; ///< [T]
    std::int64_t positions, head_dim;
};

template <class T>
struct HeadGradient {
    HeadRows<const T> q, k, v, dout, out;
    HeadRows<T> dq, dk, dv;
    const float* logsumexp; ///< [T]
    float* row_dot;         ///< [T]
    std::int64_t positions, head_dim;
};

/// Where head `head` begins: in [B,T,3,H,D] (its q; k and v follow C behind each other) and
/// [B,T,H,D].
struct HeadPlaces {
    AttentionExtents e;

    std::int64_t count() const { return e.sequences * e.heads; }
    std::int64_t channels() const { return e.heads * e.head_dim; }
    std::int64_t in_heads(std::int64_t head) const
    {
        return head / e.heads * e.positions * channels() + head % e.heads * e.head_dim;
    }
    std::int64_t in_qkv(std::int64_t head) const
    {
        return head / e.heads * e.positions * 3 * channels() + head % e.heads * e.head_dim;
    }
    template <class Element>
    HeadRows<Element> rows_of_qkv(Element* qkv, std::int64_t head, std::int64_t which) const
    {
        return {qkv + in_qkv(head) + which * channels(), 3 * channels()};
    }
    template <class Element>
    HeadRows<Element> rows_of_heads(Element* heads, std::int64_t head) const
    {
        return {heads + in_heads(head), channels()};
    }
};

template <class Op>
HeadPlaces places_of(const Op& op)
{
    const AttentionExtents e = extents_of(op);
    SLUICE_CHECK(e.head_dim <= max_head_dim, "head_dim " << e.head_dim);
    return {e};
}

/// heads[i]: for loops, whose bodies must not throw.
template <class T>
class ForwardHeads {
public:
    explicit ForwardHeads(const AttentionForward& op)
        : places(places_of(op)), qkv_(op.qkv.as<T>()), out_(op.out.as<T>()),
          logsumexp_(op.logsumexp.as<float>())
    {
    }
    HeadForward<T> operator[](std::int64_t head) const
    {
        return {.q = places.rows_of_qkv(qkv_, head, 0),
                .k = places.rows_of_qkv(qkv_, head, 1),
                .v = places.rows_of_qkv(qkv_, head, 2),
                .out = places.rows_of_heads(out_, head),
                .logsumexp = logsumexp_ + head * places.e.positions,
                .positions = places.e.positions,
                .head_dim = places.e.head_dim};
    }
    const HeadPlaces places;

private:
    const T* qkv_;
    T* out_;
    float* logsumexp_;
};

template <class T>
class GradientHeads {
public:
    explicit GradientHeads(const AttentionBackward& op)
        : places(places_of(op)), qkv_(op.qkv.as<T>()), dout_(op.dout.as<T>()), out_(op.out.as<T>()),
          qkv_gradient_(op.qkv_gradient.as<T>()), logsumexp_(op.logsumexp.as<float>()),
          row_dot_(op.row_dot.as<float>())
    {
    }
    HeadGradient<T> operator[](std::int64_t head) const
    {
        return {.q = places.rows_of_qkv(qkv_, head, 0),
                .k = places.rows_of_qkv(qkv_, head, 1),
                .v = places.rows_of_qkv(qkv_, head, 2),
                .dout = places.rows_of_heads(dout_, head),
                .out = places.rows_of_heads(out_, head),
                .dq = places.rows_of_qkv(qkv_gradient_, head, 0),
                .dk = places.rows_of_qkv(qkv_gradient_, head, 1),
                .dv = places.rows_of_qkv(qkv_gradient_, head, 2),
                .logsumexp = logsumexp_ + head * places.e.positions,
                .row_dot = row_dot_ + head * places.e.positions,
                .positions = places.e.positions,
                .head_dim = places.e.head_dim};
    }
    const HeadPlaces places;

private:
    const T *qkv_, *dout_, *out_;
    T* qkv_gradient_;
    const float* logsumexp_;
    float* row_dot_;
};

/// Which block of queries comes when. Late ones see more keys: first and last blocks alternate, so
/// that a thread's run of items is as long as any other's.
inline std::int64_t block_in_turn(std::int64_t turn, std::int64_t num_blocks)
{
    return turn % 2 == 0 ? turn / 2 : num_blocks - 1 - turn / 2;
}

/// row_dot: dout · out, row by row.
template <class T>
void add_up_row_dots(const HeadGradient<T>& head)
{
    for (std::int64_t query = 0; query < head.positions; ++query) {
        Lanes products{};
        for_each_chunk(head.head_dim, [&](std::int64_t c, auto count) {
            products += load(head.dout[query] + c, count) * load(head.out[query] + c, count);
        });
        head.row_dot[query] = sum(products);
    }
}

/// to[row] = factor * sums[row][stride], of which D are there.
template <class T>
void write_rows(const float* sums, std::int64_t stride, std::int64_t num_rows,
                std::int64_t head_dim, float factor, HeadRows<T> to)
{
    for (std::int64_t row = 0; row < num_rows; ++row)
        for_each_chunk(head_dim, [&](std::int64_t c, auto count) {
            store(to[row] + c, factor * load(sums + row * stride + c, count), count);
        });
}

} // namespace sluice::kernels
