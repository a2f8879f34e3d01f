#include "layers/kernels/embedding.hpp"

#include "tests/layers/kernels/conformance/conformance_case.hpp"

#include <boost/test/unit_test.hpp>
#include <cmath>

using namespace sluice;
using namespace sluice::testing;
using kernels::EmbeddingBackward;
using kernels::EmbeddingForward;

namespace {

std::vector<std::int32_t> some_tokens(std::int64_t num_tokens, std::int64_t vocabulary)
{
    std::vector<std::int32_t> tokens; // with repeats, and both ends of the vocabulary
    for (std::int64_t n = 0; n < num_tokens; ++n)
        tokens.push_back(
            static_cast<std::int32_t>(n % 4 == 0 ? vocabulary - 1 : n * n * 7 % vocabulary));
    return tokens;
}

void check_shape(std::int64_t num_tokens, std::int64_t channels, std::uint64_t seed)
{
    constexpr std::int64_t vocabulary = 11;
    check_conformance([=](Case& c) {
        const std::string what = std::to_string(num_tokens) + "x" + std::to_string(channels);
        Operand ids = c.token_ids(some_tokens(num_tokens, vocabulary));
        Operand table = c.random({vocabulary, channels}, c.compute(), seed);
        Operand out = c.poisoned({num_tokens, channels}, c.compute());
        c.launch([&](auto side) {
            return EmbeddingForward{.tokens = side(ids), .table = side(table), .out = side(out)};
        });
        c.check_exactly(out, what + " out");
        Operand dout = c.random({num_tokens, channels}, c.compute(), seed + 1);
        Operand gradient = c.random({vocabulary, channels}, c.gradient(seed), seed + 2);
        c.launch([&](auto side) {
            return EmbeddingBackward{
                .tokens = side(ids), .dout = side(dout), .table_gradient = side(gradient)};
        });
        // At most N / 2 additions into one row, of sums up to about 5 sqrt(N).
        const double n = static_cast<double>(num_tokens);
        c.check(gradient, (4 + n * std::sqrt(n)) * epsilon, what + " table_gradient");
    });
}

} // namespace

BOOST_AUTO_TEST_SUITE(embedding)

BOOST_AUTO_TEST_CASE(every_edge)
{
    std::uint64_t seed = 1;
    for (const std::int64_t channels : {1, 7, 8, 9, 64, 200})
        for (const std::int64_t num_tokens : {1, 2, 65})
            check_shape(num_tokens, channels, seed++);
    for (const std::int64_t num_tokens : {127, 128, 129, 300}) // around a block of threads
        check_shape(num_tokens, 9, seed++);
    for (const std::int64_t channels : {1023, 1024, 1025, 2056}) // and around its slab of channels
        check_shape(5, channels, seed++);
}

BOOST_AUTO_TEST_CASE(rows_of_equal_tokens_add_in_token_order)
{
    // 2^24, then ones: each is lost alone, so any other order, or sums beforehand, shows.
    check_conformance([](Case& c) {
        Operand ids = c.token_ids(std::vector<std::int32_t>(200, 2));
        Operand dout = c.filled({200, 3}, c.compute(), 1.0);
        for (std::size_t i = 0; i < 3; ++i) {
            dout.values[i] = 0x1p24;
            dout.tested->set(i, 0x1p24);
        }
        dout.tested->upload();
        Operand gradient = c.filled({4, 3}, DType::f32, 0.0);
        c.launch_tested([&](auto side) {
            return EmbeddingBackward{
                .tokens = side(ids), .dout = side(dout), .table_gradient = side(gradient)};
        });
        for (std::size_t i = 0; i < 3; ++i)
            gradient.values[2 * 3 + i] = 0x1p24;
        c.check_exactly(gradient, "order");
    });
}

BOOST_AUTO_TEST_CASE(unknown_tokens_show_or_are_ignored)
{
    if (backend_under_test() == BackendUnderTest::cpu)
        return; // it looks at tokens first and throws
    for (const std::int32_t bad : {-1, 5})
        check_conformance([bad](Case& c) {
            Operand ids = c.token_ids({0, bad});
            Operand table = c.random({5, 4}, c.compute(), 1);
            Operand out = c.filled({2, 4}, c.compute(), 0.0);
            c.launch_tested([&](auto side) {
                return EmbeddingForward{
                    .tokens = side(ids), .table = side(table), .out = side(out)};
            });
            out.tested->download();
            BOOST_TEST(out.tested->get(0) == table.values[0]);
            BOOST_TEST(std::isnan(out.tested->get(4)));
            Operand rows = c.random({2, 4}, c.compute(), 2);
            c.launch_tested([&](auto side) {
                return EmbeddingBackward{
                    .tokens = side(ids), .dout = side(rows), .table_gradient = side(table)};
            });
            c.bits_of(table);
            BOOST_TEST(table.tested->guards_intact());
        });
}

BOOST_AUTO_TEST_SUITE_END()
