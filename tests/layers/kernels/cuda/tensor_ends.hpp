// Tensors too large for any memory, of which only the first and the last rows exist: what kernels
// do there is compared with what the float64 reference does on just those rows.
#pragma once

#include "core/tensor_view.hpp"
#include "layers/kernels/launch.hpp"
#include "tests/layers/kernels/cuda/emulated_gpu.hpp"
#include "tests/layers/kernels/cuda/sparse_memory.hpp"

#include <boost/test/unit_test.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace sluice::testing {

inline constexpr DType large_types[] = {DType::f32, DType::bf16};
/// More than a kernel's arithmetic changes, far less than another row's numbers do.
constexpr double tolerance_of(DType dtype) { return dtype == DType::bf16 ? 0x1p-6 : 1e-5; }

/// One operand twice: rows at the ends of memory that is zero in between, and the same rows, one
/// behind the other, for the reference. Rows run along the outermost axis.
class TensorEnds {
public:
    /// Zeros. `rows`: how many exist at each end, for tensors of fewer than twice as many rows all.
    /// `open_rows`: how many a kernel may touch at each end, where that is more.
    TensorEnds(const Shape& shape, DType dtype, std::int64_t rows, std::int64_t open_rows = 0);
    static TensorEnds whole(const Shape& shape, DType dtype) { return {shape, dtype, shape[0]}; }

    /// Numbers from [-2, 2) that every type holds exactly, of `seed`; times `scale`, plus `offset`.
    void fill(std::uint64_t seed, double scale = 1.0, double offset = 0.0);
    /// `element`: of those that exist. Ids mean other rows in a tensor of which only the ends are
    /// there.
    void set_id(std::int64_t element, std::int64_t id, std::int64_t id_for_reference);

    TensorView in_sparse_memory() { return {memory_->data(), dtype_, shape_}; }
    TensorView for_reference();
    const SparseMemory& memory() const { return *memory_; }

    /// The first and the last row are as the reference has them, within tolerance (1 + |value|).
    /// So is every other element that exists, or as it was before the launch: blocks in the middle
    /// have not run. What lies around those, in the same pages or open, is zero.
    void check(double tolerance, const std::string& what);

private:
    std::int64_t num_existing() const { return (first_rows_ + last_rows_) * row_; }
    void set(std::int64_t element, double value);
    void store(std::int64_t element, double value);
    std::size_t bytes_of_rows(std::int64_t rows) const;
    std::byte* place_of(std::int64_t element) const;
    void check_rest(const std::string& what) const;

    Shape shape_;
    DType dtype_;
    std::int64_t row_; ///< elements of one
    std::int64_t last_rows_, first_rows_, open_rows_;
    std::unique_ptr<SparseMemory> memory_;
    std::vector<std::byte> before_; ///< what was stored, of all that exist
    // For the reference:
    std::vector<double> values_;
    std::vector<std::int32_t> ids_; ///< instead, where the type is that of ids
};

/// Launches make(side) for the reference, and its first and last blocks on an emulated GPU, where
/// side(operand) is the operand's view there.
template <class Make>
void launch_at_ends(Make&& make, std::int64_t blocks_at_ends = 1)
{
    kernels::launch(Stream{.backend = Backend::reference},
                    make([](TensorEnds& tensor) { return tensor.for_reference(); }));
    const EmulatedGpu gpu{.workspace_bytes = std::size_t{64} << 20,
                          .blocks_at_ends = blocks_at_ends};
    run(gpu, make([](TensorEnds& tensor) { return tensor.in_sparse_memory(); }));
    for (const std::string& stray : SparseMemory::take_strays())
        BOOST_ERROR("touched " << stray);
}

} // namespace sluice::testing
