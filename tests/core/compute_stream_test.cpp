#include "core/compute_stream.hpp"

#include <boost/test/unit_test.hpp>

#include <vector>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(compute_stream)

BOOST_AUTO_TEST_CASE(on_a_cpu_the_stream_is_the_planned_one)
{
    const ComputeStream compute(Stream{.backend = Backend::reference});
    BOOST_CHECK(compute.stream().backend == Backend::reference);
    BOOST_CHECK(compute.stream().native == nullptr);
}

BOOST_AUTO_TEST_CASE(copies_are_done_on_return)
{
    const std::vector<float> from{1.0F, 2.0F, 3.0F};
    std::vector<float> to(3, 0.0F);
    copy(Stream{}, view_of(const_cast<float*>(from.data()), {3}), view_of(to.data(), {3}));
    synchronize(Stream{});
    BOOST_TEST(to == from, boost::test_tools::per_element());
    std::vector<float> two(2);
    BOOST_CHECK_THROW(copy(Stream{}, view_of(to.data(), {3}), view_of(two.data(), {2})),
                      InvariantError);
}

BOOST_AUTO_TEST_CASE(what_the_host_reaches_is_not_copied)
{
    std::vector<float> numbers{1.0F, 2.0F};
    const HostCopy view(Stream{}, view_of(numbers.data(), {2}));
    BOOST_CHECK(view.view().data == numbers.data());
    BOOST_CHECK_EQUAL(view.bytes().size(), 8u);
    view.view().as<float>()[1] = 5.0F;
    view.write_back();
    BOOST_CHECK_EQUAL(numbers[1], 5.0F);
}

BOOST_AUTO_TEST_SUITE_END()
