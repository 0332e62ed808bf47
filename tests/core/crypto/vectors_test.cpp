// Published vectors: SHA-256 (FIPS 180-4 examples), HMAC-SHA-256 (RFC 4231), AES-256-GCM (NIST's
// GCM test cases).
#include <gtest/gtest.h>

#include "core/crypto/aead.hpp"
#include "core/crypto/hmac.hpp"

namespace portcullis::core {
namespace {

std::string bytes_of(std::string_view hex) {
  std::string out(hex.size() / 2, '\0');
  EXPECT_TRUE(from_hex(hex, {reinterpret_cast<std::uint8_t*>(out.data()), out.size()}));
  return out;
}
template <class Array>
Array array_of(std::string_view hex) {
  Array out;
  EXPECT_TRUE(from_hex(hex, out));
  return out;
}
std::string mac_of(std::string_view key, std::string_view message) {
  return to_hex(hmac_key(as_bytes(key))(message));
}

TEST(sha256, gives_the_published_digests) {
  EXPECT_EQ(to_hex(sha256(as_bytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(sha256(as_bytes(""))),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(sha256(as_bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(to_hex(sha256(as_bytes(std::string(1'000'000, 'a')))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(hmac, gives_the_macs_of_rfc_4231) {
  EXPECT_EQ(mac_of(std::string(20, '\x0b'), "Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(mac_of("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(mac_of(std::string(20, '\xaa'), std::string(50, '\xdd')),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
  EXPECT_EQ(mac_of(bytes_of("0102030405060708090a0b0c0d0e0f10111213141516171819"),
                   std::string(50, '\xcd')),
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
  EXPECT_EQ(
      mac_of(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First"),
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  EXPECT_EQ(mac_of(std::string(131, '\xaa'),
                   "This is a test using a larger than block-size key and a larger than block-size "
                   "data. The key needs "
                   "to be hashed before being used by the HMAC algorithm."),
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

TEST(hmac, parts_give_the_mac_of_the_whole) {
  const hmac_key key(as_bytes("Jefe"));
  EXPECT_EQ(
      key.begin().update(as_bytes("what do ya ")).update(as_bytes("want for nothing?")).finish(),
      key("what do ya want for nothing?"));
}

TEST(hmac, sized_parts_with_shifted_boundaries_differ) {
  const hmac_key key(as_bytes("key"));
  const auto of = [&](std::string_view a, std::string_view b) {
    return key.begin().update_sized(a).update_sized(b).finish();
  };
  EXPECT_NE(of("ab", "c"), of("a", "bc"));
  EXPECT_NE(of("", "abc"), of("abc", ""));
  EXPECT_EQ(key.begin().update_sized(std::string_view("a")).update_int(258).finish(),
            key(std::string_view("\x01\0\0\0a\x02\x01\0\0\0\0\0\0", 13)));
}

TEST(secrets, are_equal_when_each_byte_is) {
  EXPECT_TRUE(equal_secrets(as_bytes("abc"), as_bytes("abc")));
  EXPECT_TRUE(equal_secrets({}, {}));
  EXPECT_FALSE(equal_secrets(as_bytes("abc"), as_bytes("abd")));
  EXPECT_FALSE(equal_secrets(as_bytes("abc"), as_bytes("Abc")));
  EXPECT_FALSE(equal_secrets(as_bytes("abc"), as_bytes("ab")));
}

struct gcm_case {
  std::string_view key, nonce, plain, purpose, cipher, tag;
};
// The AES-256 cases with a 96-bit IV of "The Galois/Counter Mode of Operation" (test cases 13 to
// 16).
constexpr gcm_case gcm_cases[] = {
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "00000000000000000000000000000000", "", "cea7403d4d606b6e074ec5d3baf39d18",
     "d0d1c8a799996bf0265b98b5d48ab919"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
     "",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
     "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
     "b094dac5d93471bdec1a502270e3cc6c"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
     "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
     "76fc6ece0f4e1768cddf8853bb2d551b"},
};

TEST(aead, gives_the_published_ciphertexts_and_tags) {
  for (const auto& each : gcm_cases) {
    const auto key = array_of<aead_key>(each.key);
    const auto nonce = array_of<aead_nonce>(each.nonce);
    const auto sealed = seal(key, nonce, bytes_of(each.plain), bytes_of(each.purpose));
    EXPECT_EQ(to_hex(as_bytes(sealed)),
              std::string(each.nonce) + std::string(each.cipher) + std::string(each.tag));
    EXPECT_EQ(open(key, sealed, bytes_of(each.purpose)), bytes_of(each.plain));
  }
}

TEST(aead, every_changed_byte_is_noticed) {
  aead_key key{};
  key[3] = 7;
  const auto sealed = seal(key, aead_nonce{1, 2, 3}, "some plain text", "purpose");
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    auto changed = sealed;
    changed[i] = static_cast<char>(changed[i] ^ 0x10);
    EXPECT_FALSE(open(key, changed, "purpose")) << i;
  }
  for (std::size_t size = 0; size < sealed.size(); ++size)
    EXPECT_FALSE(open(key, sealed.substr(0, size), "purpose"));
  EXPECT_FALSE(open(key, sealed + "x", "purpose"));
  EXPECT_FALSE(open(key, sealed, "purposf"));
  EXPECT_FALSE(open(aead_key{}, sealed, "purpose"));
  EXPECT_EQ(open(key, sealed, "purpose"), "some plain text");  // a failure leaves nothing behind
}

}  // namespace
}  // namespace portcullis::core
