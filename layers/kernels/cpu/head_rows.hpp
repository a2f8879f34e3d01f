// Where one head's rows lie among all heads'.
#pragma once

#include "layers/kernels/attention.hpp"

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace sluice::kernels {

inline constexpr std::int64_t max_head_dim = max_head_dim_on_cpus;

constexpr std::int64_t round_up(std::int64_t n, std::int64_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

/// Rows of one head in [B,T,3,H,D] or [B,T,H,D].
template <class T>
struct HeadRows {
    T* first; ///< [D] at position 0
    std::int64_t stride;
    T* operator[](std::int64_t position) const { return first + position * stride; }
    /// The same rows counted from `position` on.
    HeadRows from(std::int64_t position) const { return {(*this)[position], stride}; }
};

/// Asks for rows that are needed soon: they lie a whole token apart, further than the processor
/// looks ahead on its own.
template <class T>
inline void prefetch_rows(HeadRows<T> rows, std::int64_t num_rows, std::int64_t head_dim)
{
    constexpr std::int64_t elements_per_line = 64 / sizeof(T);
    for (std::int64_t row = 0; row < num_rows; ++row)
        for (std::int64_t c = 0; c < head_dim; c += elements_per_line)
            __builtin_prefetch(rows[row] + c, std::is_const_v<T> ? 0 : 1, 2);
}

} // namespace sluice::kernels
