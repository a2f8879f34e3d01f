#include "tests/layers/kernels/cuda/tensor_ends.hpp"

#include "core/bfloat16.hpp"
#include "layers/kernels/checksum.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <span>

namespace sluice::testing {

namespace {

double value_at(const std::byte* place, DType dtype)
{
    switch (dtype) {
    case DType::f64: return *reinterpret_cast<const double*>(place);
    case DType::f32: return static_cast<double>(*reinterpret_cast<const float*>(place));
    case DType::bf16:
        return static_cast<double>(float_of(*reinterpret_cast<const BFloat16*>(place)));
    case DType::i32: return static_cast<double>(*reinterpret_cast<const std::int32_t*>(place));
    default: SLUICE_CHECK(false, name_of(dtype)); return 0.0;
    }
}

void store_at(std::byte* place, DType dtype, double value)
{
    switch (dtype) {
    case DType::f64: *reinterpret_cast<double*>(place) = value; return;
    case DType::f32: *reinterpret_cast<float*>(place) = static_cast<float>(value); return;
    case DType::bf16:
        *reinterpret_cast<BFloat16*>(place) = bfloat16_of(static_cast<float>(value));
        return;
    case DType::i32:
        *reinterpret_cast<std::int32_t*>(place) = static_cast<std::int32_t>(value);
        return;
    default: SLUICE_CHECK(false, name_of(dtype));
    }
}

/// Of either sign.
bool all_zero(const std::byte* begin, const std::byte* end, DType dtype)
{
    const std::uint64_t magnitudes = dtype == DType::bf16  ? 0x7fff7fff7fff7fffU
                                     : dtype == DType::f32 ? 0x7fffffff7fffffffU
                                                           : ~std::uint64_t{0};
    for (; begin + sizeof magnitudes <= end; begin += sizeof magnitudes) {
        std::uint64_t elements = 0;
        std::memcpy(&elements, begin, sizeof elements);
        if ((elements & magnitudes) != 0)
            return false;
    }
    return std::all_of(begin, end, [](std::byte byte) { return byte == std::byte{}; });
}

} // namespace

TensorEnds::TensorEnds(const Shape& shape, DType dtype, std::int64_t rows, std::int64_t open_rows)
    : shape_(shape), dtype_(dtype), row_(shape.num_elements() / shape[0]),
      last_rows_(2 * rows < shape[0] ? rows : 0), first_rows_(last_rows_ > 0 ? rows : shape[0]),
      open_rows_(last_rows_ > 0 ? std::max(rows, open_rows) : shape[0]),
      memory_(std::make_unique<SparseMemory>(bytes_of_rows(shape[0]))),
      before_(bytes_of_rows(first_rows_ + last_rows_))
{
    SLUICE_CHECK(open_rows_ <= shape[0], open_rows_ << " rows of " << shape.text());
    memory_->open(0, bytes_of_rows(open_rows_));
    memory_->open(bytes_of_rows(shape[0] - open_rows_), bytes_of_rows(open_rows_));
    if (dtype == DType::i32)
        ids_.resize(static_cast<std::size_t>(num_existing()));
    else
        values_.resize(static_cast<std::size_t>(num_existing()));
}

std::size_t TensorEnds::bytes_of_rows(std::int64_t rows) const
{
    return static_cast<std::size_t>(rows * row_) * size_of(dtype_);
}

std::byte* TensorEnds::place_of(std::int64_t element) const
{
    const bool is_last = element >= first_rows_ * row_;
    const std::int64_t left_out = is_last ? (shape_[0] - first_rows_ - last_rows_) * row_ : 0;
    return memory_->data() + static_cast<std::size_t>(element + left_out) * size_of(dtype_);
}

void TensorEnds::fill(std::uint64_t seed, double scale, double offset)
{
    for (std::int64_t i = 0; i < num_existing(); ++i) {
        const std::uint64_t bits = kernels::checksum_term(
            (static_cast<std::uint64_t>(i) + (seed << 40)) * kernels::checksum_step);
        set(i, scale * (static_cast<double>(bits >> 56) / 64.0 - 2.0) + offset);
    }
}

void TensorEnds::set(std::int64_t element, double value)
{
    store(element, value);
    values_[static_cast<std::size_t>(element)] = value_at(place_of(element), dtype_); // rounded
}

void TensorEnds::set_id(std::int64_t element, std::int64_t id, std::int64_t id_for_reference)
{
    store(element, static_cast<double>(id));
    ids_[static_cast<std::size_t>(element)] = static_cast<std::int32_t>(id_for_reference);
}

void TensorEnds::store(std::int64_t element, double value)
{
    const std::size_t size = size_of(dtype_);
    store_at(place_of(element), dtype_, value);
    std::memcpy(before_.data() + static_cast<std::size_t>(element) * size, place_of(element), size);
}

TensorView TensorEnds::for_reference()
{
    std::array<std::int64_t, Shape::max_rank> extents{};
    for (int axis = 0; axis < shape_.rank(); ++axis)
        extents[static_cast<std::size_t>(axis)] =
            axis == 0 ? first_rows_ + last_rows_ : shape_[axis];
    const Shape shape{std::span(extents).first(static_cast<std::size_t>(shape_.rank()))};
    return ids_.empty() ? view_of(values_.data(), shape) : view_of(ids_.data(), shape);
}

void TensorEnds::check(double tolerance, const std::string& what)
{
    const std::int64_t count = num_existing();
    for (std::int64_t i = 0; i < count; ++i) {
        const auto index = static_cast<std::size_t>(i);
        const double found = value_at(place_of(i), dtype_), expected = values_[index];
        const double before = value_at(before_.data() + index * size_of(dtype_), dtype_);
        const bool must_be_there = i < row_ || i >= count - row_;
        const bool right = std::abs(found - expected) <= tolerance * (1.0 + std::abs(expected));
        if (right || (!must_be_there && found == before))
            continue;
        BOOST_ERROR(what << ": of the elements that exist, number " << i << " of " << count
                         << " is " << found << ", expected " << expected << " within " << tolerance
                         << ", before " << before);
        break;
    }
    check_rest(what);
}

void TensorEnds::check_rest(const std::string& what) const
{
    const auto check = [&](std::size_t begin, std::size_t end, const char* where) {
        BOOST_TEST(all_zero(memory_->data() + begin, memory_->data() + end, dtype_),
                   what << ": wrote " << where);
    };
    const std::size_t page = SparseMemory::page;
    const auto next_page = [page](std::size_t place) { return (place + page - 1) / page * page; };
    const std::size_t end = bytes_of_rows(shape_[0]);
    check(end, next_page(end), "behind the end");
    if (last_rows_ == 0)
        return;
    check(bytes_of_rows(first_rows_), next_page(bytes_of_rows(open_rows_)),
          "behind the first rows");
    check(bytes_of_rows(shape_[0] - open_rows_) / page * page,
          bytes_of_rows(shape_[0] - last_rows_), "before the last rows");
}

} // namespace sluice::testing
