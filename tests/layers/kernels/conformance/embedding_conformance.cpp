#include "layers/kernels/embedding.hpp"

#include "tests/layers/kernels/conformance/conformance_case.hpp"
#include "tests/layers/kernels/embedding_tokens.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

using namespace sluice;
using namespace sluice::testing;
using kernels::EmbeddingBackward;
using kernels::EmbeddingForward;

namespace {

/// Sums in token order, to the bit, of numbers whose sums are rounded at every step.
void check_order(const std::vector<std::int32_t>& tokens, std::int64_t vocabulary,
                 std::int64_t channels)
{
    check_conformance([&](Case& c) {
        const auto num_tokens = static_cast<std::int64_t>(tokens.size());
        if (num_tokens > 1000 && one_type_will_do(c))
            return;
        Operand ids = c.token_ids(tokens);
        Operand dout = c.random({num_tokens, channels}, c.compute(), 1);
        Operand gradient = c.random({vocabulary, channels}, DType::f32, 2);
        std::vector<float> expected(gradient.values.begin(), gradient.values.end());
        for (std::int64_t n = 0; n < num_tokens; ++n) {
            const std::int64_t token = tokens[static_cast<std::size_t>(n)];
            if (token >= 0 && token < vocabulary)
                for (std::int64_t i = 0; i < channels; ++i)
                    expected[static_cast<std::size_t>(token * channels + i)] +=
                        static_cast<float>(dout.values[static_cast<std::size_t>(n * channels + i)]);
        }
        c.launch_tested([&](auto side) {
            return EmbeddingBackward{
                .tokens = side(ids), .dout = side(dout), .table_gradient = side(gradient)};
        });
        std::copy(expected.begin(), expected.end(), gradient.values.begin());
        c.check_exactly(gradient,
                        std::to_string(num_tokens) + " tokens of " + std::to_string(vocabulary));
    });
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

BOOST_AUTO_TEST_CASE(runs_of_every_length)
{
    // Token t occurs t times, so that runs end and begin everywhere; the last ones are long. In
    // turns: t, t + 1, ..., over and over, so that none stands beside its like.
    for (const std::int64_t channels : {3, 136}) {
        constexpr std::int32_t vocabulary = 70;
        std::vector<std::int32_t> tokens;
        for (std::int32_t round = vocabulary - 1; round > 0; --round)
            for (std::int32_t token = round; token < vocabulary; ++token)
                tokens.push_back(token);
        check_order(tokens, vocabulary, channels);
        check_order(std::vector<std::int32_t>(97, 5), vocabulary, channels); // one alone
        tokens.resize(vocabulary);
        for (std::int32_t n = 0; n < vocabulary; ++n) // every one once
            tokens[static_cast<std::size_t>(n)] = 33 * n % vocabulary;
        check_order(tokens, vocabulary, channels);
    }
}

BOOST_AUTO_TEST_CASE(more_tokens_than_a_tile)
{
    for (const std::int64_t num_tokens : {1023, 1024, 1025, 5000, 20000})
        for (const std::int64_t vocabulary : {1, 255, 256, 257, 70000}) {
            if (backend_under_test() == BackendUnderTest::races && num_tokens > 1025 &&
                vocabulary < 70000)
                continue; // as many passes over more tiles, seconds each
            std::vector<std::int32_t> tokens;
            for (std::int64_t n = 0; n < num_tokens; ++n)
                tokens.push_back(static_cast<std::int32_t>(n * n % 65537 * 131 % vocabulary));
            check_order(tokens, vocabulary, 2);
        }
}

BOOST_AUTO_TEST_CASE(more_tokens_than_are_sorted_at_once)
{
    std::vector<std::int32_t> tokens;
    for (std::int64_t n = 0; n < (1 << 17) + 100; ++n)
        tokens.push_back(static_cast<std::int32_t>(n % 3 == 0 ? 4 : n % 4099));
    check_order(tokens, 4099, 1);
}

BOOST_AUTO_TEST_CASE(unknown_tokens_show_or_are_ignored)
{
    if (backend_under_test() == BackendUnderTest::cpu)
        return; // it looks at tokens first and throws
    check_order({3, -1, 2, 5, 3, 1 << 30, std::numeric_limits<std::int32_t>::min()}, 5, 9);
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
