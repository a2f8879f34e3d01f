// Kernels that add up tensors of more elements than 32 bits can count. What blocks that do not run
// would add is zero, as their part of the tensor is. The second steps (the sums of the blocks'
// parts, up to 1024 or 64 MiB of them) and the sort of tokens (2^17 at a time) have no large
// tensors and run as they are.
#include "tests/layers/kernels/cuda/tensor_ends.hpp"

#include "layers/kernels/checksum.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>

using namespace sluice;
using namespace sluice::kernels;
using namespace sluice::testing;

namespace {

/// 6.4e9: cut to 32 bits, with or without a sign, their numbers lead far from either end. A block
/// goes over its whole part, so no more than that.
constexpr std::int64_t num_elements = std::int64_t{3} << 31;
constexpr std::int64_t flat_rows = 3000;

/// The sum of checksum's terms for the words from `begin` on, as they lie in memory.
std::uint64_t sum_of_terms(const SparseMemory& memory, std::size_t begin, std::size_t num_words)
{
    std::uint64_t sum = 0;
    for (std::size_t i = begin; i < begin + num_words; ++i) {
        std::uint64_t word = 0;
        std::memcpy(&word, memory.data() + 8 * i,
                    std::min(std::size_t{8}, memory.num_bytes() - 8 * i));
        sum += checksum_term(word + (i + 1) * checksum_step);
    }
    return sum;
}

std::uint64_t checksum_of(TensorEnds& x)
{
    double result = 0.0;
    run(EmulatedGpu{.workspace_bytes = 1 << 20, .blocks_at_ends = 1},
        Checksum{.x = x.in_sparse_memory(), .result = view_of(&result, {1})});
    for (const std::string& stray : SparseMemory::take_strays())
        BOOST_ERROR("touched " << stray);
    return static_cast<std::uint64_t>(result);
}

} // namespace

BOOST_AUTO_TEST_SUITE(large_sums)

BOOST_AUTO_TEST_CASE(sum_of_squares)
{
    for (const DType dtype : large_types) {
        TensorEnds x({num_elements + 5}, dtype, flat_rows, num_elements / 1000);
        TensorEnds result = TensorEnds::whole({1}, DType::f64);
        x.fill(1);
        launch_at_ends(
            [&](auto side) { return SumOfSquares{.x = {side(x)}, .results = side(result)}; });
        result.check(1e-12, "sum of squares");
    }
}

/// The blocks that do not run count as nothing, though the checksum of zeros is not: so what is
/// compared is by how much it changes with the numbers at the ends.
BOOST_AUTO_TEST_CASE(checksum)
{
    // More than 2^33 words, so that these cannot be counted in 32 bits either.
    constexpr std::int64_t n = (std::int64_t{3} << 34) + (std::int64_t{5} << 29) + 5;
    TensorEnds x({n}, DType::bf16, flat_rows, n / 1000);
    const SparseMemory& memory = x.memory();
    const std::size_t num_words = (memory.num_bytes() + 7) / 8, filled = flat_rows / 4 + 1;
    const auto terms = [&] {
        return sum_of_terms(memory, 0, filled) + sum_of_terms(memory, num_words - filled, filled);
    };
    const std::uint64_t terms_before = terms(), before = checksum_of(x);
    x.fill(1);
    const std::uint64_t change = checksum_of(x) - before;
    BOOST_TEST((change & checksum_mask) == ((terms() - terms_before) & checksum_mask));
}

BOOST_AUTO_TEST_CASE(rms_norm_backward)
{
    // In registers, of eight warps; and too long for them.
    for (const std::int64_t longest : {4096, 8192})
        for (const DType dtype : large_types)
            for (const std::int64_t channels : {longest, longest - 2})
                BOOST_TEST_CONTEXT(name_of(dtype) << ", rows of " << channels)
                {
                    const std::int64_t rows = num_elements / channels + 1, there = 10;
                    const auto rows_at_ends = [&, rows = rows] {
                        return TensorEnds({rows, channels}, dtype, there, rows / 450);
                    };
                    TensorEnds dy = rows_at_ends(), x = rows_at_ends(), addend = rows_at_ends(),
                               dx = rows_at_ends();
                    TensorEnds rstd({rows}, DType::f32, there, rows / 450);
                    TensorEnds weight = TensorEnds::whole({channels}, dtype),
                               gradient = TensorEnds::whole({channels}, DType::f32);
                    dy.fill(1);
                    x.fill(2);
                    addend.fill(3);
                    rstd.fill(4, 0.25, 1.0);
                    weight.fill(5);
                    gradient.fill(6);
                    launch_at_ends([&](auto side) {
                        return RmsNormBackward{.dy = side(dy),
                                               .x = side(x),
                                               .weight = side(weight),
                                               .rstd = side(rstd),
                                               .addend = side(addend),
                                               .dx = side(dx),
                                               .weight_gradient = side(gradient)};
                    });
                    dx.check(tolerance_of(dtype), "dx");
                    gradient.check(1e-4, "weight gradient");
                }
}

/// Tokens are sorted in parts, and these sorts run whole; then the first blocks take the least
/// token, which is there often at both ends, and the last ones the greatest tokens. What stands in
/// the middle is outside the vocabulary, so nobody's, or in the middle of it, where no block runs.
BOOST_AUTO_TEST_CASE(embedding_backward)
{
    constexpr std::int64_t sorted_at_once = 1 << 17, num_tokens = 2 * sorted_at_once;
    constexpr std::int64_t vocabulary = num_tokens;
    constexpr std::int64_t blocks = 384; // whole rows of that token, and as many of the greatest:
    constexpr std::int64_t greatest = 64, there = greatest + 40;
    for (const DType dtype : large_types) {
        const std::int64_t channels = num_elements / sorted_at_once - (dtype == DType::f32 ? 2 : 0);
        TensorEnds tokens = TensorEnds::whole({num_tokens}, DType::i32);
        TensorEnds existing_tokens = TensorEnds::whole({2 * there}, DType::i32);
        for (std::int64_t i = 0; i < 2 * there; ++i) {
            const std::int64_t n = i < there ? i : num_tokens - 2 * there + i;
            const std::int64_t from_end = 2 * there - i;
            const bool is_great = from_end <= greatest;
            tokens.set_id(n, is_great ? vocabulary - from_end : 0, 0);
            existing_tokens.set_id(i, 0, is_great ? 2 * there - from_end : 0);
        }
        for (std::int64_t n = there; n < num_tokens - there; ++n)
            tokens.set_id(n, n < sorted_at_once ? -1 : n - there, 0);
        TensorEnds dout({num_tokens, channels}, dtype, there);
        TensorEnds gradient({vocabulary, channels}, DType::f32, there);
        dout.fill(1);
        gradient.fill(2);
        launch_at_ends(
            [&](auto side) {
                EmbeddingBackward op{
                    .tokens = {}, .dout = side(dout), .table_gradient = side(gradient)};
                op.tokens = side(op.dout.dtype == DType::f64 ? existing_tokens : tokens);
                return op;
            },
            blocks);
        gradient.check(1e-5, "gradient");
    }
}

BOOST_AUTO_TEST_SUITE_END()
