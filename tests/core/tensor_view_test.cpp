#include "core/tensor_view.hpp"

#include <boost/test/unit_test.hpp>
#include <numeric>
#include <vector>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(tensor_view)

BOOST_AUTO_TEST_CASE(a_view_shows_the_callers_memory)
{
    std::vector<float> values(12);
    std::iota(values.begin(), values.end(), 0.0f);
    const TensorView view = view_of(values.data(), {3, 4});
    BOOST_TEST(view.num_bytes() == 48u);
    BOOST_TEST(view.elements<float>().size() == 12u);
    view.as<float>()[5] = -1.0f;
    BOOST_TEST(values[5] == -1.0f);
    BOOST_TEST(!view.empty());
    BOOST_TEST(TensorView{}.empty());
}

BOOST_AUTO_TEST_CASE(slices_and_other_shapes_share_it)
{
    std::vector<std::int32_t> values(12);
    std::iota(values.begin(), values.end(), 0);
    const TensorView view = view_of(values.data(), {3, 4});
    const TensorView row = view.slice(8, {4});
    BOOST_TEST(row.as<std::int32_t>()[0] == 8);
    BOOST_TEST(view.reshape({2, 6}).as<std::int32_t>() == values.data());
    BOOST_CHECK_THROW(view.reshape({5}), InvariantError);
    BOOST_CHECK_THROW(view.slice(9, {4}), InvariantError);
    BOOST_CHECK_THROW(view.slice(-1, {4}), InvariantError);
}

BOOST_AUTO_TEST_CASE(a_wrong_type_breaks_a_promise)
{
    std::vector<float> values(2);
    const TensorView view = view_of(values.data(), {2});
    BOOST_CHECK_THROW(view.as<double>(), InvariantError);
    BOOST_CHECK_THROW(view.as<std::int32_t>(), InvariantError);
}

BOOST_AUTO_TEST_CASE(element_sizes)
{
    BOOST_TEST(size_of(DType::f32) == 4u);
    BOOST_TEST(size_of(DType::f64) == 8u);
    BOOST_TEST(size_of(DType::bf16) == 2u);
    BOOST_TEST(size_of(DType::i32) == 4u);
    BOOST_TEST(size_of(DType::u16) == 2u);
    BOOST_TEST(size_of(DType::u32) == 4u);
}

BOOST_AUTO_TEST_SUITE_END()
