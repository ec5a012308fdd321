package catalogue

// items are the sample's products. Prices are spread over two currencies and stocks over
// plenty, scarce and sold out, so that a page that shows them has all to show.
func items() []item { //nolint:funlen // a table
	return []item{
		// ---- audio ----
		{
			"aurora-wireless-headphones", "Aurora Wireless Headphones", "Over-ear headphones with adaptive noise cancelling, 40 hours of battery and a fold-flat hinge that survives a full bag.", "audio", "EUR",
			[]variant{
				{"AUR-HP-BLK", "Graphite", "249.00", 180, map[string]any{"colour": "graphite"}},
				{"AUR-HP-SND", "Sand", "249.00", 95, map[string]any{"colour": "sand"}},
				{"AUR-HP-MNT", "Mint, limited", "269.00", 12, map[string]any{"colour": "mint", "limited": true}},
			},
		},
		{
			"pebble-earbuds", "Pebble Earbuds", "Tiny true-wireless earbuds in a case of recycled ocean plastic. Sweat-proof, and findable when the sofa eats one.", "audio", "EUR",
			[]variant{
				{"PBL-EB-WHT", "White", "79.90", 420, map[string]any{"colour": "white"}},
				{"PBL-EB-NVY", "Navy", "79.90", 260, map[string]any{"colour": "navy"}},
			},
		},
		{
			"hearth-smart-speaker", "Hearth Smart Speaker", "A room-filling speaker in wool and oak. It listens only while the button is pressed.", "audio", "EUR",
			[]variant{{"HRT-SP-OAK", "Oak", "159.00", 75, map[string]any{"finish": "oak"}}, {"HRT-SP-WAL", "Walnut", "169.00", 40, map[string]any{"finish": "walnut"}}},
		},
		{
			"meridian-turntable", "Meridian Turntable", "Belt-drive turntable with a carbon tonearm and a phono stage built in. Assembled and tested by hand.", "audio", "EUR",
			[]variant{{"MRD-TT-001", "", "449.00", 8, map[string]any{"limited": true}}},
		},
		// ---- photo ----
		{
			"lumen-mirrorless-camera", "Lumen Mirrorless Camera", "26-megapixel mirrorless camera with in-body stabilisation and dials you can set with gloves on.", "photo", "EUR",
			[]variant{
				{"LUM-CAM-BDY", "Body", "1199.00", 30, map[string]any{"kit": "body"}},
				{"LUM-CAM-K35", "With 35 mm f/1.8", "1549.00", 18, map[string]any{"kit": "35 mm"}},
			},
		},
		{
			"field-tripod", "Field Tripod", "Carbon travel tripod: 1.1 kg, 152 cm high, and short enough for cabin luggage.", "photo", "EUR",
			[]variant{{"FLD-TRI-CF1", "", "189.00", 64, map[string]any{"weight": "1.1 kg"}}},
		},
		{
			"instant-square", "Instant Square", "An instant camera with a glass lens and a mirror for the two of you.", "photo", "EUR",
			[]variant{
				{"INS-SQ-CRM", "Cream", "119.00", 150, map[string]any{"colour": "cream"}},
				{"INS-SQ-RED", "Red", "119.00", 0, map[string]any{"colour": "red"}},
			},
		},
		// ---- shoes and clothes ----
		{
			"drift-runner", "Drift Runner", "The daily trainer in a new colourway, with a foam that gives back more than it takes. One drop, no restock.", "sneakers", "USD",
			[]variant{
				{"DRF-RUN-40", "EU 40", "139.00", 60, map[string]any{"size": 40}},
				{"DRF-RUN-41", "EU 41", "139.00", 85, map[string]any{"size": 41}},
				{"DRF-RUN-42", "EU 42", "139.00", 110, map[string]any{"size": 42}},
				{"DRF-RUN-43", "EU 43", "139.00", 110, map[string]any{"size": 43}},
				{"DRF-RUN-44", "EU 44", "139.00", 70, map[string]any{"size": 44}},
				{"DRF-RUN-45", "EU 45", "139.00", 25, map[string]any{"size": 45}},
			},
		},
		{
			"court-classic-87", "Court Classic ’87", "The tennis shoe of 1987 on its original last, numbered from 1 to 500.", "sneakers", "USD",
			[]variant{
				{"CRT-87-41", "EU 41", "189.00", 100, map[string]any{"size": 41, "limited": true}},
				{"CRT-87-42", "EU 42", "189.00", 150, map[string]any{"size": 42, "limited": true}},
				{"CRT-87-43", "EU 43", "189.00", 150, map[string]any{"size": 43, "limited": true}},
				{"CRT-87-44", "EU 44", "189.00", 100, map[string]any{"size": 44, "limited": true}},
			},
		},
		{
			"harbour-rain-jacket", "Harbour Rain Jacket", "Three-layer shell that keeps out a North Sea November and packs into its own pocket.", "clothes", "EUR",
			[]variant{
				{"HRB-JKT-S", "S", "219.00", 45, map[string]any{"size": "S"}},
				{"HRB-JKT-M", "M", "219.00", 80, map[string]any{"size": "M"}},
				{"HRB-JKT-L", "L", "219.00", 80, map[string]any{"size": "L"}},
				{"HRB-JKT-XL", "XL", "219.00", 35, map[string]any{"size": "XL"}},
			},
		},
		{
			"merino-crew", "Merino Crew", "A crew-neck of 18.5-micron merino, knitted in one piece so that nothing scratches.", "clothes", "EUR",
			[]variant{
				{"MRN-CRW-S", "S", "98.00", 120, map[string]any{"size": "S"}},
				{"MRN-CRW-M", "M", "98.00", 200, map[string]any{"size": "M"}},
				{"MRN-CRW-L", "L", "98.00", 160, map[string]any{"size": "L"}},
			},
		},
		{
			"tour-hoodie-2026", "Tour Hoodie 2026", "Heavy cotton with the dates of the tour on the back. Sold until it ends, and never again.", "clothes", "USD",
			[]variant{
				{"TOUR-HD-S", "S", "65.00", 300, map[string]any{"size": "S"}},
				{"TOUR-HD-M", "M", "65.00", 500, map[string]any{"size": "M"}},
				{"TOUR-HD-L", "L", "65.00", 500, map[string]any{"size": "L"}},
				{"TOUR-HD-XL", "XL", "65.00", 250, map[string]any{"size": "XL"}},
			},
		},
		// ---- kitchen ----
		{
			"copper-pour-over", "Copper Pour-Over Set", "Kettle with a thermometer, dripper and carafe: everything between the beans and the first sip.", "kitchen", "EUR",
			[]variant{{"CPR-PO-SET", "", "129.00", 90, nil}},
		},
		{
			"cast-iron-skillet", "Cast Iron Skillet", "Pre-seasoned, milled smooth, and heavier than your excuses. For life, and the next one.", "kitchen", "EUR",
			[]variant{
				{"CIS-24", "24 cm", "59.00", 140, map[string]any{"diameter": "24 cm"}},
				{"CIS-28", "28 cm", "74.00", 110, map[string]any{"diameter": "28 cm"}},
			},
		},
		{
			"santoku-knife", "Santoku Knife", "17 cm of layered VG-10 steel with a magnolia handle, sharpened on stone by the maker.", "kitchen", "EUR",
			[]variant{{"SNT-KNF-17", "", "145.00", 36, map[string]any{"blade": "17 cm"}}},
		},
		{
			"espresso-one", "Espresso One", "A lever machine with no screen, no app and no capsules. Nine bars, your arm.", "kitchen", "EUR",
			[]variant{{"ESP-ONE-STL", "Steel", "389.00", 22, map[string]any{"finish": "steel"}}, {"ESP-ONE-BLK", "Black", "399.00", 0, map[string]any{"finish": "black"}}},
		},
		// ---- games ----
		{
			"nova-console", "Nova Console, launch edition", "The console everyone is waiting for, with two controllers and a serial number you can show off.", "games", "USD",
			[]variant{{"NOVA-LE", "", "499.00", 500, map[string]any{"limited": true}}},
		},
		{
			"nova-controller", "Nova Controller", "Hall-effect sticks, swappable pads and a battery that lasts a weekend.", "games", "USD",
			[]variant{
				{"NOVA-CT-WHT", "White", "69.00", 350, map[string]any{"colour": "white"}},
				{"NOVA-CT-COR", "Coral", "74.00", 130, map[string]any{"colour": "coral"}},
			},
		},
		{
			"islands-of-tide", "Islands of Tide", "A board game of trade and weather for two to five, an hour, and no player left out.", "games", "EUR",
			[]variant{{"IOT-BASE", "Base game", "49.90", 210, nil}, {"IOT-EXP1", "Expansion: Storm", "29.90", 160, nil}},
		},
		// ---- home ----
		{
			"arc-floor-lamp", "Arc Floor Lamp", "A brushed-steel arc and a linen shade; dimmable from candle to reading light.", "home", "EUR",
			[]variant{{"ARC-LMP-STL", "Steel", "229.00", 28, map[string]any{"finish": "steel"}}, {"ARC-LMP-BRS", "Brass", "249.00", 14, map[string]any{"finish": "brass"}}},
		},
		{
			"linen-bedding", "Linen Bedding", "Stone-washed European linen that gets better every time it is washed.", "home", "EUR",
			[]variant{
				{"LIN-BED-135", "135 × 200 cm", "149.00", 70, map[string]any{"size": "135 × 200 cm"}},
				{"LIN-BED-155", "155 × 220 cm", "169.00", 55, map[string]any{"size": "155 × 220 cm"}},
			},
		},
		{
			"monstera-plant", "Monstera Deliciosa", "80 cm tall, in a terracotta pot, sent in a box that keeps it upright.", "home", "EUR",
			[]variant{{"MNS-80", "", "44.00", 48, nil}},
		},
		// ---- outdoors ----
		{
			"ridge-backpack-28", "Ridge Backpack 28 L", "A day pack with a back that breathes and straps that stay put.", "outdoors", "USD",
			[]variant{
				{"RDG-28-OLV", "Olive", "118.00", 100, map[string]any{"colour": "olive"}},
				{"RDG-28-BLK", "Black", "118.00", 130, map[string]any{"colour": "black"}},
			},
		},
		{
			"two-person-tent", "Two-Person Tent", "1.9 kg, two doors, and a pole set that one person pitches in three minutes in the rain.", "outdoors", "USD",
			[]variant{{"TNT-2P-GRN", "Green", "329.00", 33, map[string]any{"colour": "green"}}},
		},
	}
}
