//go:build !wasip1

package kv

import (
	"strconv"
	"strings"
	"time"

	"guest/sandhog"
	"guest/sandhog/memory"
)

// granted returns the Redis of the test.
func granted(key string) (*memory.Redis, error) {
	if memory.Current == nil {
		panic("kv in a unit test: call memory.New first")
	}
	if memory.Current.Denied[key] {
		return nil, sandhog.Refused{Why: sandhog.Denied, Name: key}
	}
	return memory.Current, nil
}

func Get(key string) ([]byte, error) {
	redis, err := granted(key)
	if err != nil {
		return nil, err
	}
	if value, found := redis.Keys[key]; found {
		return []byte(value), nil
	}
	return nil, nil
}

func GetMany(keys []string) ([][]byte, error) {
	values := make([][]byte, len(keys))
	for nth, key := range keys {
		var err error
		if values[nth], err = Get(key); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func Set(key string, value []byte) error {
	_, err := SetWith(key, value, Options{})
	return err
}

func SetWith(key string, value []byte, options Options) (bool, error) {
	redis, err := granted(key)
	if err != nil {
		return false, err
	}
	_, found := redis.Keys[key]
	if options.Condition == IfAbsent && found || options.Condition == IfPresent && !found {
		return false, nil
	}
	redis.Keys[key] = string(value)
	delete(redis.TTLs, key)
	if options.TTL != 0 {
		redis.TTLs[key] = options.TTL
	}
	return true, nil
}

func SetMany(values map[string][]byte) error {
	for key := range values {
		if _, err := granted(key); err != nil {
			return err
		}
	}
	for key, value := range values {
		if err := Set(key, value); err != nil {
			return err
		}
	}
	return nil
}

func Delete(key string) (bool, error) {
	redis, err := granted(key)
	if err != nil {
		return false, err
	}
	_, found := redis.Keys[key]
	delete(redis.Keys, key)
	delete(redis.TTLs, key)
	return found, nil
}

func Exists(key string) (bool, error) {
	value, err := Get(key)
	return value != nil, err
}

func Add(key string, delta int64) error {
	_, err := Increment(key, delta)
	return err
}

func Increment(key string, delta int64) (int64, error) {
	redis, err := granted(key)
	if err != nil {
		return 0, err
	}
	held, found := redis.Keys[key]
	if !found {
		held = "0"
	}
	number, err := strconv.ParseInt(held, 10, 64)
	total := number + delta
	if err != nil || (total > number) != (delta > 0) && delta != 0 {
		return 0, sandhog.Refused{Why: sandhog.WrongType, Name: key}
	}
	redis.Keys[key] = strconv.FormatInt(total, 10)
	return total, nil
}

func CompareAndSwap(key string, expected, replacement []byte) (bool, error) {
	value, err := Get(key)
	if err != nil || (value == nil) != (expected == nil) || string(value) != string(expected) {
		return false, err
	}
	if replacement == nil {
		_, err = Delete(key)
	} else {
		err = Set(key, replacement)
	}
	return err == nil, err
}

func Expire(key string, ttl time.Duration) (bool, error) {
	redis, err := granted(key)
	if err != nil {
		return false, err
	}
	if _, found := redis.Keys[key]; !found {
		return false, nil
	}
	delete(redis.TTLs, key)
	if ttl != 0 {
		redis.TTLs[key] = ttl
	}
	return true, nil
}

func TTL(key string) (time.Duration, error) {
	redis, err := granted(key)
	if err != nil {
		return 0, err
	}
	return redis.TTLs[key], nil
}

func ListKeys(prefix, _ string) (Page, error) {
	redis, err := granted(prefix + "*")
	if err != nil {
		return Page{}, err
	}
	var page Page
	for key := range redis.Keys {
		if strings.HasPrefix(key, prefix) && !redis.Denied[key] {
			page.Keys = append(page.Keys, key)
		}
	}
	return page, nil
}
