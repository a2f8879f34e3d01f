// Extents of a tensor, outermost first. Row-major and contiguous everywhere in this program.
#pragma once

#include "core/error.hpp"

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace sluice {

class Shape {
public:
    static constexpr int max_rank = 5;

    Shape() = default; ///< a scalar: rank 0, one element
    Shape(std::initializer_list<std::int64_t> extents)
        : Shape(std::span(extents.begin(), extents.size()))
    {
    }
    explicit Shape(std::span<const std::int64_t> extents)
    {
        SLUICE_CHECK(extents.size() <= max_rank, "rank " << extents.size());
        for (std::int64_t extent : extents)
            extents_[rank_++] = extent;
    }

    int rank() const { return rank_; }
    std::int64_t operator[](int axis) const { return extents_[axis]; }
    std::int64_t num_elements() const
    {
        std::int64_t product = 1;
        for (int axis = 0; axis < rank_; ++axis)
            product *= extents_[axis];
        return product;
    }
    bool operator==(const Shape&) const = default;

    std::string text() const ///< "[512, 1368]"
    {
        std::string out = "[";
        for (int axis = 0; axis < rank_; ++axis)
            out += (axis ? ", " : "") + std::to_string(extents_[axis]);
        return out + "]";
    }

private:
    std::array<std::int64_t, max_rank> extents_{};
    int rank_ = 0;
};

} // namespace sluice
