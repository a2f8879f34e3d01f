#include "layers/kernels/embedding.hpp"

#include "tests/layers/kernels/embedding_tokens.hpp"
#include "tests/layers/kernels/kernel_fixture.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;
using namespace sluice::testing;
using kernels::EmbeddingBackward;
using kernels::EmbeddingForward;

BOOST_AUTO_TEST_SUITE(embedding)

BOOST_AUTO_TEST_CASE(reference_embedding_by_hand)
{
    std::vector<std::int32_t> tokens = {2, 0, 2};
    std::vector<double> table = {1, 2, 3, 4, 5, 6}, out(6), dout = {1, 10, 2, 20, 4, 40};
    kernels::launch(reference, EmbeddingForward{.tokens = view_of(tokens.data(), {3}),
                                                .table = view_of(table.data(), {3, 2}),
                                                .out = view_of(out.data(), {3, 2})});
    BOOST_TEST(out == (std::vector<double>{5, 6, 1, 2, 5, 6}));
    kernels::launch(reference, EmbeddingBackward{.tokens = view_of(tokens.data(), {3}),
                                                 .dout = view_of(dout.data(), {3, 2}),
                                                 .table_gradient = view_of(table.data(), {3, 2})});
    BOOST_TEST(table == (std::vector<double>{3, 22, 3, 4, 10, 56}));
}

BOOST_AUTO_TEST_CASE(cpu_embedding_agrees_with_reference_at_every_edge)
{
    std::uint64_t seed = 1;
    for (const std::int64_t channels : {1, 7, 8, 9, 63, 64, 65, 129, 200})
        for (const std::int64_t num_tokens : {1, 2, 65}) {
            constexpr std::int64_t vocabulary = 11;
            std::vector<std::int32_t> tokens = some_tokens(num_tokens, vocabulary);
            const TensorView ids = view_of(tokens.data(), {num_tokens});
            Twin table = Twin::random({vocabulary, channels}, seed++);
            Twin out = Twin::poisoned({num_tokens, channels});
            launch_both([&](auto side) {
                return EmbeddingForward{.tokens = ids, .table = side(table), .out = side(out)};
            });
            check_close(out, 0.0, "out");
            Twin dout = Twin::random({num_tokens, channels}, seed++);
            launch_both([&](auto side) {
                return EmbeddingBackward{
                    .tokens = ids, .dout = side(dout), .table_gradient = side(table)};
            });
            // At most 17 + 10 additions into one row, of sums up to about 20.
            check_close(table, 100 * epsilon, "table_gradient");
        }
}

BOOST_AUTO_TEST_CASE(embedding_refuses_tokens_outside_the_vocabulary)
{
    for (const std::int32_t bad : {-1, 5}) {
        std::vector<std::int32_t> tokens = {0, bad};
        Twin table = Twin::random({5, 4}, 1), rows = Twin::random({2, 4}, 2);
        const TensorView ids = view_of(tokens.data(), {2});
        BOOST_CHECK_THROW(kernels::launch(cpu, EmbeddingForward{.tokens = ids,
                                                                .table = table.in_float32(),
                                                                .out = rows.in_float32()}),
                          InvariantError);
        BOOST_CHECK_THROW(
            kernels::launch(cpu, EmbeddingBackward{.tokens = ids,
                                                   .dout = rows.in_float32(),
                                                   .table_gradient = table.in_float32()}),
            InvariantError);
    }
}

BOOST_AUTO_TEST_CASE(cpu_embedding_gives_same_bits_on_any_threads)
{
    check_same_bits_on_any_threads([] {
        std::vector<std::int32_t> tokens = some_tokens(301, 7);
        Twin table = Twin::random({7, 333}, 1), dout = Twin::random({301, 333}, 2);
        kernels::launch(cpu, EmbeddingBackward{.tokens = view_of(tokens.data(), {301}),
                                               .dout = dout.in_float32(),
                                               .table_gradient = table.in_float32()});
        return std::vector<float>(table.floats().begin(), table.floats().end());
    });
}

BOOST_AUTO_TEST_SUITE_END()
