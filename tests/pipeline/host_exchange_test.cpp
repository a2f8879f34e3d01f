// Where host and device share a memory; GPUs have theirs in tests/gpu.
#include "pipeline/host_exchange.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <vector>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(host_exchange)

BOOST_AUTO_TEST_CASE(token_ids_are_written_in_place)
{
    TokenUpload upload(Stream{}, 3);
    std::vector<std::int32_t> ids(3, -1);
    upload(view_of(ids.data(), {3}), [&](const TensorView& into) {
        BOOST_CHECK(into.data == ids.data());
        into.as<std::int32_t>()[2] = 7;
    });
    BOOST_CHECK_EQUAL(ids[2], 7);
}

BOOST_AUTO_TEST_CASE(losses_add_up_in_token_order_at_once)
{
    LossDownload download(Stream{}, 3);
    std::vector<double> losses{1e16, 1.0, -1e16};
    double sum = -1.0;
    download(view_of(losses.data(), {3}), sum);
    BOOST_CHECK_EQUAL(sum, (1e16 + 1.0) - 1e16);
    losses.assign(3, 0.0);
    download.finish();
    BOOST_CHECK_EQUAL(sum, (1e16 + 1.0) - 1e16);
}

BOOST_AUTO_TEST_SUITE_END()
