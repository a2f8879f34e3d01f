#include "core/error.hpp"
#include "pipeline/transport/transport.hpp"

#include <boost/test/unit_test.hpp>

#include <array>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(in_process_transport)

BOOST_AUTO_TEST_CASE(messages_to_oneself_match_by_label)
{
    const auto transport = make_in_process_transport();
    std::array<float, 3> a{1, 2, 3}, b{4, 5, 6}, into_a{}, into_b{};
    const MessageId received_b = transport->receive(view_of(into_b.data(), {3}), 0, {1, 7, false});
    const MessageId sent_a = transport->send(view_of(a.data(), {3}), 0, {1, 7, true});
    const MessageId sent_b = transport->send(view_of(b.data(), {3}), 0, {1, 7, false});
    const MessageId received_a = transport->receive(view_of(into_a.data(), {3}), 0, {1, 7, true});
    for (const MessageId message : {sent_a, sent_b, received_a, received_b})
        transport->wait(message);
    BOOST_TEST(into_a == a, boost::test_tools::per_element());
    BOOST_TEST(into_b == b, boost::test_tools::per_element());
    transport->wait(0);
}

BOOST_AUTO_TEST_CASE(a_group_of_one_has_messages_of_its_own)
{
    const auto whole = make_in_process_transport();
    const auto group = whole->split(3, 7);
    BOOST_TEST(group->num_ranks() == 1);
    BOOST_TEST(group->world_rank() == 0);
    float out = 1.0f, in = 0.0f;
    const MessageId received = group->receive(view_of(&in, {1}), 0, {});
    const MessageId elsewhere = whole->send(view_of(&out, {1}), 0, {});
    BOOST_TEST(!group->is_done(received));
    BOOST_TEST(!whole->is_done(elsewhere));
    group->send(view_of(&out, {1}), 0, {});
    BOOST_TEST(group->is_done(received));
    group->wait(received);
    BOOST_TEST(in == 1.0f);
}

BOOST_AUTO_TEST_CASE(equal_labels_match_in_order)
{
    const auto transport = make_in_process_transport();
    std::array<double, 2> out{1.0, 2.0}, in{};
    for (int i = 0; i < 2; ++i)
        transport->send(view_of(&out[i], {1}), 0, {});
    for (int i = 0; i < 2; ++i)
        transport->wait(transport->receive(view_of(&in[i], {1}), 0, {}));
    BOOST_TEST(in == out, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(waiting_for_what_never_comes_is_a_broken_promise)
{
    const auto transport = make_in_process_transport();
    float value = 0;
    const MessageId message = transport->receive(view_of(&value, {1}), 0, {2, 3, false});
    BOOST_CHECK_EXCEPTION(transport->wait(message), InvariantError, [](const auto& error) {
        return std::string(error.what()).find("chunk 2, micro-batch 3") != std::string::npos;
    });
    BOOST_CHECK_THROW(transport->wait(99), InvariantError);
    BOOST_CHECK_THROW(transport->send(view_of(&value, {1}), 1, {}), InvariantError);
    std::array<float, 2> two{};
    BOOST_CHECK_THROW(transport->send(view_of(two.data(), {2}), 0, {2, 3, false}), InvariantError);
}

BOOST_AUTO_TEST_CASE(collectives_of_one)
{
    const auto transport = make_in_process_transport();
    std::array<double, 2> values{1.5, -2.0};
    transport->sum(values);
    transport->max(values);
    transport->broadcast(std::as_writable_bytes(std::span(values)), 0);
    transport->barrier();
    BOOST_TEST(values[0] == 1.5);
    BOOST_TEST(values[1] == -2.0);
    BOOST_TEST(transport->gather_text("only").size() == 1u);
    BOOST_TEST(transport->gather_text("only")[0] == "only");
    BOOST_TEST(transport->rank() == 0);
    BOOST_TEST(transport->num_ranks() == 1);
}

BOOST_AUTO_TEST_SUITE_END()
