// np: 2 3
#include "tests/pipeline/transport/gpu_messages_over_mpi.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;
using sluice::testing::Way;

BOOST_AUTO_TEST_SUITE(staged_transport, *boost::unit_test::precondition(testing::a_gpu_is_there))

BOOST_AUTO_TEST_CASE(sizes_from_a_kilobyte_to_64_megabytes)
{
    testing::sizes_from_a_kilobyte_to_64_megabytes(Way::staged);
}
BOOST_AUTO_TEST_CASE(later_work_may_overwrite_what_was_waited_for)
{
    testing::later_work_may_overwrite_what_was_waited_for(Way::staged);
}
BOOST_AUTO_TEST_CASE(a_message_waits_for_who_still_reads_the_memory)
{
    testing::a_message_waits_for_who_still_reads_the_memory(Way::staged);
}
BOOST_AUTO_TEST_CASE(equal_labels_match_in_order)
{
    testing::equal_labels_match_in_order(Way::staged);
}
BOOST_AUTO_TEST_CASE(whatever_waits_for_others_starts_what_they_wait_for)
{
    testing::whatever_waits_for_others_starts_what_they_wait_for(Way::staged);
}
BOOST_AUTO_TEST_CASE(host_memory_passes_through_and_reuse_is_noticed)
{
    testing::host_memory_passes_through_and_reuse_is_noticed(Way::staged);
}

BOOST_AUTO_TEST_SUITE_END()
