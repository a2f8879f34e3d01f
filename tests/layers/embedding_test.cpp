#include "layers/embedding.hpp"

#include "tests/layers/layer_fixture.hpp"

namespace sluice {
namespace { // the kernels' tests have a suite of this name as well

using testing::Owned;
using testing::OwnedWeight;
using testing::reference_stream;

BOOST_AUTO_TEST_SUITE(embedding)

BOOST_AUTO_TEST_CASE(layer_looks_up_rows_and_adds_their_gradients)
{
    OwnedWeight table({3, 2}, "table");
    table.value.numbers() = {1, 2, 3, 4, 5, 6};
    table.gradient.numbers() = {100, 100, 100, 100, 100, 100};
    const Embedding embedding{table.weight()};
    std::vector<std::int32_t> ids = {2, 0, 2};
    const TensorView tokens = view_of(ids.data(), {3});
    Owned out({3, 2}), dout({3, 2});
    embedding.forward(reference_stream, tokens, out.view());
    BOOST_TEST(out.numbers() == std::vector<double>({5, 6, 1, 2, 5, 6}),
               boost::test_tools::per_element());
    dout.numbers() = {1, 2, 10, 20, 3, 4};
    embedding.backward_weight(reference_stream, tokens, dout.view());
    BOOST_TEST(table.gradient.numbers() == std::vector<double>({110, 120, 100, 100, 104, 106}),
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
