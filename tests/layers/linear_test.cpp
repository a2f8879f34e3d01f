#include "layers/linear.hpp"

#include "tests/layers/layer_fixture.hpp"

namespace sluice {
namespace {

using testing::Owned;
using testing::reference_stream;

BOOST_AUTO_TEST_SUITE(linear)

BOOST_AUTO_TEST_CASE(products_are_those_of_the_formulas)
{
    Owned x({2, 2}), w({3, 2}), y({2, 3}), addend({2, 3});
    x.numbers() = {1, 2, 3, 4};
    w.numbers() = {1, 0, 0, 1, 2, -1}; // rows: first, second, 2 first - second
    addend.numbers() = {10, 20, 30, 40, 50, 60};
    linear_forward(reference_stream, x.view(), w.view(), y.view());
    BOOST_TEST(y.numbers() == std::vector<double>({1, 2, 0, 3, 4, 2}),
               boost::test_tools::per_element());
    linear_forward(reference_stream, x.view(), w.view(), y.view(), 0.5, {addend.view(), 2.0});
    BOOST_TEST(y.numbers() == std::vector<double>({20.5, 41, 60, 81.5, 102, 121}),
               boost::test_tools::per_element());

    Owned dy({2, 3}), dx({2, 2}), dw({3, 2});
    dy.numbers() = {1, 0, 2, 0, 1, 0};
    linear_backward_input(reference_stream, dy.view(), w.view(), dx.view(), 2.0);
    BOOST_TEST(dx.numbers() == std::vector<double>({10, -4, 0, 2}),
               boost::test_tools::per_element());
    dw.numbers() = {100, 100, 100, 100, 100, 100};
    linear_backward_weight(reference_stream, dy.view(), x.view(), dw.view(), 0.5);
    BOOST_TEST(dw.numbers() == std::vector<double>({100.5, 101, 101.5, 102, 101, 102}),
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
