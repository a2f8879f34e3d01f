#include "pipeline/transport/message_table.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(message_table)

BOOST_AUTO_TEST_CASE(entries_are_reused_and_stale_ids_noticed)
{
    MessageTable<int> table;
    BOOST_CHECK(table.empty());
    const std::size_t first = table.add();
    const MessageId id = table.id_of(first);
    BOOST_CHECK_NE(id, 0); // stands for none
    BOOST_CHECK_EQUAL(table.index_of(id), first);
    BOOST_CHECK(!table.empty());
    table.remove(first);
    BOOST_CHECK(table.empty());
    BOOST_CHECK_THROW(table.index_of(id), InvariantError);
    BOOST_CHECK_EQUAL(table.add(), first);
    BOOST_CHECK_EQUAL(table.size(), 1u);
    BOOST_CHECK_NE(table.id_of(first), id);
    BOOST_CHECK_THROW(table.index_of(id), InvariantError);
    BOOST_CHECK_THROW(table.index_of(id + 1), InvariantError);
}

BOOST_AUTO_TEST_CASE(a_mark_sets_ids_apart)
{
    MessageTable<int> plain, marked(MessageId{1} << 61);
    const MessageId one = plain.id_of(plain.add()), other = marked.id_of(marked.add());
    BOOST_CHECK(marked.has(other));
    BOOST_CHECK(!marked.has(one));
    BOOST_CHECK(!marked.has(0));
    BOOST_CHECK_EQUAL(marked.index_of(other), 0u);
    BOOST_CHECK_THROW(marked.index_of(one), InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()
