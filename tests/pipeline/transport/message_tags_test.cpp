#include "pipeline/transport/message_tags.hpp"

#include "core/error.hpp"

#include <boost/test/unit_test.hpp>

#include <set>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(message_tags)

namespace {

// 2^15 tags are what every MPI has, 2^23 and 2^31 what some have.
constexpr std::int64_t numbers_of_tags[] = {32768, 40000, 1 << 23, std::int64_t{1} << 31};

} // namespace

BOOST_AUTO_TEST_CASE(labels_near_each_other_have_tags_of_their_own)
{
    for (const std::int64_t num_tags : numbers_of_tags) {
        const MessageTags tags(num_tags);
        std::set<int> seen;
        for (const std::int32_t chunk : {0, 1, 63, 127})
            for (std::int32_t microbatch = 1000; microbatch < 1128; ++microbatch)
                for (const bool gradient : {false, true}) {
                    const int tag = tags.tag_of({chunk, microbatch, gradient});
                    BOOST_REQUIRE(tag >= 0);
                    BOOST_REQUIRE(tag < num_tags);
                    BOOST_REQUIRE(seen.insert(tag).second);
                }
    }
}

BOOST_AUTO_TEST_CASE(any_micro_batch_has_a_tag)
{
    const MessageTags tags(32768);
    for (const std::int32_t microbatch : {0, 127, 128, 2147483647}) {
        const int tag = tags.tag_of({127, microbatch, true});
        BOOST_TEST(tag < 32768);
        BOOST_TEST(tag == tags.tag_of({127, microbatch % 128, true}));
    }
}

BOOST_AUTO_TEST_CASE(more_chunks_than_tags_are_refused)
{
    BOOST_CHECK_NO_THROW(MessageTags(32768).tag_of({127, 0, false}));
    BOOST_CHECK_EXCEPTION(MessageTags(32768).tag_of({128, 5, false}), InvariantError,
                          [](const InvariantError& e) {
                              const std::string text = e.what();
                              return text.find("micro-batch 5 for chunk 128") != text.npos &&
                                     text.find("tags for 128 chunks") != text.npos;
                          });
    BOOST_CHECK_NO_THROW(MessageTags(std::int64_t{1} << 31).tag_of({16383, 0, false}));
}

BOOST_AUTO_TEST_CASE(labels_have_names)
{
    BOOST_TEST(name_of({1, 3, false}) == "activation of micro-batch 3 for chunk 1");
    BOOST_TEST(name_of({0, 7, true}) == "gradient of micro-batch 7 for chunk 0");
    BOOST_TEST(name_of({0, 2, false, "norms, part"}) == "norms, part 2");
}

BOOST_AUTO_TEST_SUITE_END()
